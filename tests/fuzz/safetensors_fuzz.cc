// safetensors files. An odd first byte: the rest is the file as it is. An even one: the rest is the
// header up to a newline, then the data, and the header's length is made right.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/log.h"
#include "engine/model/safetensors.h"
#include "engine/model/safetensors_header.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/checkpoint_builder.h"

namespace skipstone {
namespace {

// The entries must cover the data exactly, each with as many bytes as its shape says.
void CheckEntries(const std::vector<SafetensorsEntry>& entries, std::string_view file) {
  uint64_t end = file.size();
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    SKIPSTONE_CHECK(entry->end == end && entry->begin <= end);
    unsigned __int128 bytes = entry->unserved_type.empty() ? SizeOf(entry->type) : 1;
    for (const int64_t size : entry->shape) {
      SKIPSTONE_CHECK(size >= 0);
      bytes *= static_cast<uint64_t>(size);
      SKIPSTONE_CHECK(bytes <= file.size());
    }
    const uint64_t stored = entry->end - entry->begin;
    SKIPSTONE_CHECK(entry->unserved_type.empty() ? bytes == stored : bytes <= stored);
    end = entry->begin;
  }
  SKIPSTONE_CHECK(end >= sizeof(uint64_t));
}

// Through a mapping: what the header allows can be read.
void ReadAsFile(std::string_view bytes, size_t num_entries) {
  const int fd = memfd_create("fuzz", 0);
  SKIPSTONE_CHECK(fd >= 0);
  SKIPSTONE_CHECK(write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  const auto file = Safetensors::OpenFile(absl::StrFormat("/proc/self/fd/%d", fd));
  close(fd);
  SKIPSTONE_CHECK(file.ok());
  SKIPSTONE_CHECK(file->tensors().size() == num_entries);
  unsigned sum = 0;
  for (const auto& [name, tensor] : file->tensors()) {
    if (!tensor.unserved_type.empty()) continue;
    SKIPSTONE_CHECK(reinterpret_cast<uintptr_t>(tensor.data) % SizeOf(tensor.type) == 0);
    size_t size = SizeOf(tensor.type);
    for (const int64_t n : tensor.shape) size *= n;
    const auto* const data = static_cast<const uint8_t*>(tensor.data);
    for (size_t i = 0; i < size; ++i) sum += data[i];
  }
  SKIPSTONE_CHECK(sum < UINT32_MAX);
}

std::string FileOf(std::string_view input) {
  if (input.empty() || input[0] % 2 != 0)
    return std::string(input.substr(std::min<size_t>(1, input.size())));
  const size_t end = std::min(input.find('\n'), input.size());
  return SafetensorsBytes(std::string(input.substr(1, end - 1)),
                          std::string(input.substr(std::min(end + 1, input.size()))));
}

}  // namespace

FuzzSeeds Seeds() {
  SetLogSink([](LogSeverity, const std::string&) {});  // of every unaligned tensor
  const std::string two =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]}})";
  const std::string padded = two + std::string(8 - two.size() % 8, ' ');
  const std::string one = R"({"x":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}     )";
  return {
      {"2" + padded + "\n" + "12345678abcdef", "2" + one + "\nab", "2{}", "2", "",
       "1" + SafetensorsBytes({MakeTestTensor("w", "F32", {2, 2})}),
       "1" + SafetensorsBytes({MakeTestTensor("v", "F16", {0}), MakeTestTensor("u", "BF16", {4})})},
      {R"("a")", R"("dtype":)", R"("F16")", R"("I64")", R"("shape":)", R"("data_offsets":)",
       "[0,0]", "[8,14]", "[", "]", "{", "}", ",", ":", "null", "\n", "\\u0000", "__metadata__",
       R"("c":{"dtype":"F16","shape":[0],"data_offsets":[8,8]},)"}};
}

}  // namespace skipstone

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skipstone;
  const std::string file = FileOf({reinterpret_cast<const char*>(data), size});
  const auto entries = ParseSafetensorsHeader(file, "fuzz");
  if (!entries.ok()) {
    SKIPSTONE_CHECK(absl::IsInvalidArgument(entries.status()));
    return 0;
  }
  CheckEntries(*entries, file);
  ReadAsFile(file, entries->size());
  return 0;
}
