// The part of attention behind the scores: online softmax over one block of positions.
#pragma once

#include <cstdint>

namespace skipstone {

// What one query has seen so far. output / sum is its attention.
struct SoftmaxState {
  float max;      // of the scores; -infinity before the first block
  float sum;      // of exp(score - max)
  float* output;  // [head_dim], sum of exp(score - max) * value
};

// MergeBlock overwrites what follows the scores up to a multiple of so many.
inline constexpr int kScoreUnit = 16;

// Merges the next block: scores [n], n >= 1, which it overwrites, and values [n], each of head_dim
// floats, a multiple of 8. Thread-safe.
void MergeBlock(int n, float* scores, const float* const* values, int head_dim,
                SoftmaxState& state);

}  // namespace skipstone
