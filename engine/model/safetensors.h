// Memory-mapped safetensors files: tensors are views into the mapping. Only those that the file
// does not align to their type are copied.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/tensor.h"

namespace skipstone {

struct StoredTensor {
  DType type = DType::kF32;
  std::string unserved_type;  // the file's dtype where it is none of ours; else empty
  std::vector<int64_t> shape;
  const void* data = nullptr;
};

// All tensors of a checkpoint: model.safetensors, or the shards of model.safetensors.index.json.
// Thread-safe once open.
class Safetensors {
 public:
  // One file. INVALID_ARGUMENT on a truncated file, an oversized or malformed header, offsets that
  // overlap, leave the file or contradict shape and type; always names the file and the tensor.
  static absl::StatusOr<Safetensors> OpenFile(const std::string& path);
  // A model directory. NOT_FOUND if it holds neither form; a shard that the index names must exist
  // and hold the tensors that the index places there.
  static absl::StatusOr<Safetensors> OpenDirectory(const std::string& dir);

  // Null if there is no such tensor.
  const StoredTensor* Find(const std::string& name) const;
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

 private:
  std::vector<std::shared_ptr<const void>> mappings_;  // shared: only so their type stays private
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace skipstone
