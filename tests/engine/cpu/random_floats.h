// Numbers for tests of arithmetic.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace skipstone {

inline std::vector<float> RandomFloats(int64_t count, uint64_t seed, float scale = 1.0f) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> out(count);
  for (float& x : out) x = normal(random);
  return out;
}

}  // namespace skipstone
