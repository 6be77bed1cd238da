#include "engine/cuda/products/cublas_lt.h"

#include <dlfcn.h>

#include <string>

#include "absl/strings/str_format.h"

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

// The library's function with the name and type of `stub`.
template <class Result, class... Args>
auto Find(Result (*stub)(Args...), const char* name) {
  void* function = Load().library == nullptr ? nullptr : dlsym(Load().library, name);
  if (function != nullptr) return reinterpret_cast<decltype(stub)>(function);
  return decltype(stub)([](Args...) -> Result { return CUBLAS_STATUS_NOT_INITIALIZED; });
}

}  // namespace

namespace skipstone::cuda {

absl::Status LoadCublasLt() {
  if (Load().library != nullptr) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrFormat("%s of CUDA 13 cannot be loaded: %s", kLibrary, Load().error));
}

}  // namespace skipstone::cuda

size_t cublasLtGetVersion() {
  static const auto function = Find(&cublasLtGetVersion, "cublasLtGetVersion");
  return function();
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static const auto function = Find(&cublasLtCreate, "cublasLtCreate");
  return function(handle);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  static const auto function = Find(&cublasLtDestroy, "cublasLtDestroy");
  return function(handle);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* product, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  static const auto function = Find(&cublasLtMatmulDescCreate, "cublasLtMatmulDescCreate");
  return function(product, compute, scale);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product) {
  static const auto function = Find(&cublasLtMatmulDescDestroy, "cublasLtMatmulDescDestroy");
  return function(product);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t name,
                                              const void* value, size_t bytes) {
  static const auto function =
      Find(&cublasLtMatmulDescSetAttribute, "cublasLtMatmulDescSetAttribute");
  return function(product, name, value, bytes);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t stride) {
  static const auto function = Find(&cublasLtMatrixLayoutCreate, "cublasLtMatrixLayoutCreate");
  return function(layout, type, rows, cols, stride);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t name,
                                                const void* value, size_t bytes) {
  static const auto function =
      Find(&cublasLtMatrixLayoutSetAttribute, "cublasLtMatrixLayoutSetAttribute");
  return function(layout, name, value, bytes);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  static const auto function = Find(&cublasLtMatrixLayoutDestroy, "cublasLtMatrixLayoutDestroy");
  return function(layout);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  static const auto function =
      Find(&cublasLtMatmulPreferenceCreate, "cublasLtMatmulPreferenceCreate");
  return function(preference);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  static const auto function =
      Find(&cublasLtMatmulPreferenceDestroy, "cublasLtMatmulPreferenceDestroy");
  return function(preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void* value, size_t bytes) {
  static const auto function =
      Find(&cublasLtMatmulPreferenceSetAttribute, "cublasLtMatmulPreferenceSetAttribute");
  return function(preference, name, value, bytes);
}

// The parameters are the library's, hence their number.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* found) {
  static const auto function =
      Find(&cublasLtMatmulAlgoGetHeuristic, "cublasLtMatmulAlgoGetHeuristic");
  return function(handle, product, a, b, c, d, preference, wanted, results, found);
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algo,
                                       cublasLtMatmulHeuristicResult_t* result) {
  static const auto function = Find(&cublasLtMatmulAlgoCheck, "cublasLtMatmulAlgoCheck");
  return function(handle, product, a, b, c, d, algo, result);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  static const auto function = Find(&cublasLtMatmul, "cublasLtMatmul");
  return function(handle, product, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout,
                  algo, workspace, workspace_bytes, stream);
}
