// The part of attention behind the scores: online softmax over one block of positions.
#pragma once

#include <cstdint>

namespace skipstone {

// What one query has seen so far. output / sum is its attention.
struct SoftmaxState {
  float max;      // of the scaled scores; -infinity before the first block
  float sum;      // of exp(score - max)
  float* output;  // [head_dim], sum of exp(score - max) * value
};

// Merges the next block: scores [n] (unscaled, n >= 1; overwritten) and values [n], each of
// head_dim floats, a multiple of 8. Thread-safe.
void MergeBlock(float scale, int n, float* scores, const float* const* values, int head_dim,
                SoftmaxState& state);

}  // namespace skipstone
