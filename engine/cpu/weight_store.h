// The weights of the CPU backend: views of the caller's memory, f32 copies where a group needs one
// type.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/cpu/buffer.h"
#include "engine/cpu/thread_pool.h"

namespace skipstone {

// Filled before the first step, then only read.
class WeightStore {
 public:
  // See Backend::AddWeights. The pool is used within the call.
  absl::StatusOr<WeightId> Add(std::span<const Tensor> group, ThreadPool& pool);

  const Tensor& matrix(WeightId id, int i = 0) const { return groups_[id.index].matrices[i]; }
  // A lone row as f32: norms may be 16-bit. Null for an id without index.
  const float* vector(WeightId id) const {
    return id.index < 0 ? nullptr : groups_[id.index].vector.data();
  }
  // Of what is pointed to; copies are of the same numbers.
  int64_t bytes() const { return bytes_; }

 private:
  struct Group {
    std::vector<Tensor> matrices;
    std::vector<float> vector;
    std::vector<Buffer> widened;  // matrices with one input must agree on its arrangement
  };

  std::vector<Group> groups_;
  std::set<const void*> counted_;  // a tied head is the embedding
  int64_t bytes_ = 0;
};

}  // namespace skipstone
