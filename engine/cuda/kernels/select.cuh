// Order statistics of a row of logits, by one block and without atomics, so that equal inputs give
// equal outputs.
//
// A key orders ids by logit, ties to the lower id: the logit's bits, made monotonic, above 20 bits
// of the complement of the id. Keys are unique within a row.
#pragma once

#include "engine/cuda/kernels/number.cuh"

namespace skipstone::cuda {

inline constexpr int kMaxSampleThreads = 1024;
inline constexpr int kIdBits = 20;  // vocabularies have at most 2^20 ids
inline constexpr uint64_t kIdMask = (uint64_t{1} << kIdBits) - 1;

__device__ __forceinline__ uint64_t KeyOf(float logit, int id) {
  const uint32_t bits = __float_as_uint(logit + 0.0f);  // -0 becomes +0: they are equal
  const uint32_t ordered = bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
  return uint64_t{ordered} << kIdBits | (kIdMask - static_cast<uint64_t>(id));
}

__device__ __forceinline__ int IdOf(uint64_t key) {
  return static_cast<int>(kIdMask - (key & kIdMask));
}

// Three sums at once.
struct Sums {
  uint64_t of[3];
};
struct SelectScratch {
  uint64_t sums[3][33];
  uint64_t keys[33];
  float floats[33];
};

// The largest key below `below`; 0 if there is none.
__device__ inline uint64_t LargestKey(const float* logits, int vocab, uint64_t below,
                                      SelectScratch& scratch) {
  uint64_t best = 0;
  for (int id = threadIdx.x; id < vocab; id += blockDim.x) {
    const uint64_t key = KeyOf(logits[id], id);
    if (key < below && key > best) best = key;
  }
  return BlockReduce(best, uint64_t{0}, Max(), scratch.keys);
}

// Sums value(id) over the keys from each of three thresholds on.
template <class Value>
__device__ Sums SumFrom(const float* logits, int vocab, uint64_t floor, const uint64_t (&from)[3],
                        Value value, SelectScratch& scratch) {
  Sums sums = {};
  for (int id = threadIdx.x; id < vocab; id += blockDim.x) {
    const uint64_t key = KeyOf(logits[id], id);
    if (key < floor || key < from[0]) continue;
    const uint64_t v = value(id);
    sums.of[0] += v;
    if (key >= from[1]) sums.of[1] += v;
    if (key >= from[2]) sums.of[2] += v;
  }
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    sums.of[i] = BlockReduce(sums.of[i], uint64_t{0}, Add(), scratch.sums[i]);
  }
  return sums;
}

// The largest threshold of which the keys from it on, and from `floor` on, have values that sum to
// at least `goal`; `floor` if all of them sum to less. Two bits are decided by each pass. The ids'
// bits decide only among equal logits, so they are left out where the last logit is unique.
template <class Value>
__device__ uint64_t SelectKey(const float* logits, int vocab, uint64_t floor, Value value,
                              uint64_t goal, SelectScratch& scratch) {
  uint64_t key = 0;
  for (int shift = 32 + kIdBits - 2; shift >= 0; shift -= 2) {
    const uint64_t from[3] = {key + (uint64_t{1} << shift), key + (uint64_t{2} << shift),
                              key + (uint64_t{3} << shift)};
    const Sums sums = SumFrom(logits, vocab, floor, from, value, scratch);
    if (sums.of[2] >= goal) {
      key = from[2];
    } else if (sums.of[1] >= goal) {
      key = from[1];
    } else if (sums.of[0] >= goal) {
      key = from[0];
    }
    if (shift != kIdBits) continue;
    const uint64_t next = key + kIdMask + 1;
    const auto one = [](int) { return uint64_t{1}; };
    const Sums counts = SumFrom(logits, vocab, floor, {key, next, next}, one, scratch);
    if (counts.of[0] - counts.of[1] <= 1) break;
  }
  return key > floor ? key : floor;
}

}  // namespace skipstone::cuda
