// The part of attention behind the scores: online softmax over one block of positions.
#pragma once

#include <cstdint>

namespace skipstone {

// What one query has seen so far. output / sum is its attention.
struct SoftmaxState {
  float max;         // of the scores; -infinity before the first block
  float sum;         // of exp(score - max)
  float correction;  // of what lies in output, for the block whose values come next
  float* output;     // [head_dim], sum of exp(score - max) * value
};

// MergeScores overwrites what follows the scores up to a multiple of so many.
inline constexpr int kScoreUnit = 16;

// A block of n >= 1 positions is merged in two steps, so that those of many queries overlap: scores
// [n] become weights, then values [n], each of head_dim floats, a multiple of 8, are added by them.
// Thread-safe.
void MergeScores(int n, float* scores, SoftmaxState& state);
void MergeValues(int n, const float* weights, const float* const* values, int head_dim,
                 const SoftmaxState& state);

}  // namespace skipstone
