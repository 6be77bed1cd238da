// The random numbers of sampling: a function of what is drawn, never of the batch, so that every
// backend draws the same (SEMANTICS "Sampling"). Test vectors: tests/engine/cpu/random_test.cc.
#pragma once

#include <cstdint>

#include "base/hash.h"

namespace skipstone {

struct DrawKey {
  uint64_t seed = 0;
  uint32_t output_index = 0;  // which of the request's n outputs
  uint32_t position = 0;      // of the row's input token
  uint32_t draw = 0;          // counts the draws from one row; 0 is the token itself
};

// Uniform over 2^-24 * {0, ..., 2^24 - 1}: exact in f32.
constexpr float UniformDraw(const DrawKey& key) {
  const uint64_t stream = (uint64_t{key.output_index} << 32) | key.draw;
  const uint64_t bits = Mix64(Mix64(Mix64(key.seed) ^ stream) ^ key.position);
  return static_cast<float>(bits >> 40) * 0x1p-24f;
}

}  // namespace skipstone
