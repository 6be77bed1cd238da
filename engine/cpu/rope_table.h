// Cosines and sines of the rotary position embedding (Su et al. 2021), rotate-half pairing.
#pragma once

#include "engine/backend/backend.h"
#include "engine/cpu/buffer.h"
#include "engine/cpu/vector_ops.h"

namespace skipstone {

// Immutable once made; any thread may read.
class RopeTable {
 public:
  RopeTable() = default;
  // Angle of position p and pair i: p / rope_theta^(2 i / head_dim), in f64, stored as f32.
  explicit RopeTable(const ModelShape& shape);

  // Rotates x [heads][head_dim] of the row at `position`.
  void Apply(int position, int heads, float* x) const {
    Rotate(cosines_.row(position), sines_.row(position), heads, half_, x);
  }

 private:
  int half_ = 0;
  Matrix cosines_;  // [position][head_dim / 2]
  Matrix sines_;
};

}  // namespace skipstone
