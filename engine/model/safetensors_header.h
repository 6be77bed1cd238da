// The header of a safetensors file: pure parsing of untrusted bytes, no file access.
//
//   file = u64 header length (little endian) + header (JSON) + data
//   header = {"__metadata__": ..., "NAME": {"dtype", "shape", "data_offsets": [begin, end]}, ...}
//
// As in the format's own reader, the tensors must cover the data exactly: no overlap, no hole,
// nothing after the last. So a truncated or mixed-up file cannot pass.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/tensor.h"

namespace skipstone {

// The format's own limit; the largest Llama 2 shard has a header below 0.1 MB.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

struct SafetensorsEntry {
  std::string name;
  DType type = DType::kF32;
  std::string unserved_type;  // the dtype where the engine has no such type; else empty
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // in bytes from the start of the file; maybe not aligned to the type
  uint64_t end = 0;
};

// Entries of the whole file `bytes`, ascending in `begin`. INVALID_ARGUMENT names the tensor and
// what is wrong, after `path`.
absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensorsHeader(std::string_view bytes,
                                                                     const std::string& path);

}  // namespace skipstone
