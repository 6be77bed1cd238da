#include "engine/cuda/products/cublas_lt.h"

#include <dlfcn.h>

#include <string>

#include "absl/strings/str_format.h"
#include "base/check.h"

namespace skipstone::cuda {
namespace {

constexpr char kLibrary[] = "libcublasLt.so.13";  // of CUDA 13, as the headers

struct Loaded {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  std::string error = library == nullptr ? dlerror() : "";
};

const Loaded& Load() {
  static const auto* const loaded = new Loaded();
  return *loaded;
}

}  // namespace

absl::Status LoadCublasLt() {
  if (Load().library != nullptr) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrFormat("%s of CUDA 13 cannot be loaded: %s", kLibrary, Load().error));
}

void* CublasLtFunction(const char* name) {
  SKIPSTONE_CHECK(Load().library != nullptr);
  void* const function = dlsym(Load().library, name);
  SKIPSTONE_CHECK(function != nullptr);
  return function;
}

}  // namespace skipstone::cuda
