#include "engine/backend/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace skipstone {
namespace {

// Other backends must draw these numbers, u * 2^24. Computed by a program of a few lines in another
// language, from the definition of SplitMix64.
TEST(UniformDrawTest, MatchesTheVectors) {
  const auto bits = [](const DrawKey& key) { return static_cast<int>(UniformDraw(key) * 0x1p24f); };
  EXPECT_EQ(bits({}), 2327157);
  EXPECT_EQ(bits({.seed = 1}), 11635202);
  EXPECT_EQ(bits({.seed = 42, .output_index = 0, .position = 7}), 10778075);
  EXPECT_EQ(bits({.seed = 42, .output_index = 1, .position = 7}), 14195832);
  EXPECT_EQ(bits({.seed = 42, .output_index = 1, .position = 7, .draw = 1}), 13216128);
  EXPECT_EQ(bits({.seed = 0xffffffffffffffffull, .output_index = 127, .position = 4095}), 4148890);
}

// Chi-square over 64 cells for counters that change one at a time; 63 degrees of freedom exceed 120
// with probability 2e-5.
double ChiSquare(const std::vector<float>& draws) {
  std::vector<int> cells(64);
  for (const float u : draws) ++cells[static_cast<int>(u * 64)];
  const double expected = draws.size() / 64.0;
  double sum = 0;
  for (const int count : cells) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

TEST(UniformDrawTest, IsUniformAlongEveryCounter) {
  constexpr int kDraws = 64000;
  std::vector<float> seeds, outputs, positions, draws;
  for (uint32_t i = 0; i < kDraws; ++i) {
    seeds.push_back(UniformDraw({.seed = i}));
    outputs.push_back(UniformDraw({.seed = 5, .output_index = i}));
    positions.push_back(UniformDraw({.seed = 5, .position = i}));
    draws.push_back(UniformDraw({.seed = 5, .draw = i}));
  }
  for (const auto& sample : {seeds, outputs, positions, draws}) {
    EXPECT_LT(ChiSquare(sample), 120.0);
    for (const float u : sample) ASSERT_TRUE(u >= 0.0f && u < 1.0f);
  }
}

TEST(UniformDrawTest, NeighboursAreUncorrelated) {
  double sum = 0;
  constexpr int kPairs = 100000;
  for (uint32_t i = 0; i < kPairs; ++i) {
    sum += (UniformDraw({.seed = 9, .position = i}) - 0.5) *
           (UniformDraw({.seed = 9, .position = i + 1}) - 0.5);
  }
  // The standard deviation of the mean of products is 1 / (12 sqrt(n)).
  EXPECT_LT(std::abs(sum / kPairs), 5.0 / (12 * std::sqrt(kPairs)));
}

}  // namespace
}  // namespace skipstone
