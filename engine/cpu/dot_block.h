// The one product kernel of the CPU backend: dot products of every input row with every output row
// of a block. Matrix products and attention scores are made of it.
//
// Each (input, output) pair has one SIMD accumulator. It takes the K elements in one fixed order,
// one vector at a time (the tail padded with zeros), and is summed over its lanes in one fixed
// order. A sum is therefore bitwise the same whatever else is in the block: tiles, K blocks, tasks
// and threads never show.
#pragma once

#include <cstdint>

#include "engine/backend/tensor.h"

namespace skipstone {

// Bounds of one call; they bound the accumulators kept between K blocks. 72 rows are 12 tiles of 6;
// 72 x 64 x 64 bytes of accumulators stay in a 1 MiB L2 cache beside the panels.
inline constexpr int kDotRows = 72;
inline constexpr int kDotOutputs = 64;
// Floats of scratch: one vector of at most 16 lanes for each pair.
inline constexpr int64_t kDotScratchFloats = int64_t{16} * kDotRows * kDotOutputs;

struct DotBlockArgs {
  const float* const* inputs = nullptr;  // [rows], each k floats, arranged for `type`
  int rows = 0;                          // <= kDotRows
  const void* const* outputs = nullptr;  // [num_outputs], each k elements of `type`
  int num_outputs = 0;                   // <= kDotOutputs
  DType type = DType::kF32;
  int64_t k = 0;          // >= 1
  float* sums = nullptr;  // sums[row * sums_stride + output]
  int64_t sums_stride = 0;
  float* scratch = nullptr;  // kDotScratchFloats, 64-byte aligned
};

// Brings k input floats, in place, into the order in which products with `type` take them. Bf16
// comes in pairs of even and odd elements; the other types take their inputs as they are.
// Thread-safe.
void ArrangeInput(DType type, int64_t k, float* input);

// Thread-safe.
void DotBlock(const DotBlockArgs& args);

}  // namespace skipstone
