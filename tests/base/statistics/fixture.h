// Cases whose results other packages worked out (make_fixtures.py): inputs drawn alike on both
// sides, results read from a file.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "base/hash.h"
#include "gtest/gtest.h"
#include "tests/support/paths.h"

namespace skipstone::statistics {

// The numbers of one case, or a generator for tests that need one.
class Inputs {
 public:
  explicit Inputs(uint64_t seed, uint64_t which = 0) : counter_(Mix64(Mix64(seed) + which)) {}

  double Uniform(double low = 0, double high = 1) {
    return low + (high - low) * (static_cast<double>(Mix64(counter_++) >> 11) * 0x1p-53);
  }
  int64_t Whole(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Uniform() * static_cast<double>(high - low + 1));
  }
  // Uniform() times two to a whole power: two draws, in this order, which arguments of a call and
  // operands would not have.
  double Scaled(double low, double high, int64_t least, int64_t most) {
    const double unit = Uniform(low, high);
    return std::ldexp(unit, static_cast<int>(Whole(least, most)));
  }
  // By Box and Muller; not for fixtures, since logarithms differ between libraries.
  double Normal() {
    const double radius = std::sqrt(-2 * std::log(1 - Uniform()));
    return radius * std::cos(6.283185307179586 * Uniform());
  }

 private:
  uint64_t counter_;
};

struct Fixture {
  uint64_t seed = 0;
  std::vector<std::vector<double>> rows;
};

// SKIPSTONE_STATISTICS_FIXTURES: a folder to take instead of the committed one.
inline Fixture ReadFixture(const std::string& name, size_t columns) {
  const char* folder = std::getenv("SKIPSTONE_STATISTICS_FIXTURES");
  const std::string path =
      (folder != nullptr ? folder : SourceDir() + "/tests/base/statistics/fixtures") + "/" + name +
      ".txt";
  std::ifstream file(path);
  std::string word;
  Fixture fixture;
  size_t cases = 0;
  file >> word >> fixture.seed >> word >> cases;
  fixture.rows.resize(cases, std::vector<double>(columns));
  for (auto& row : fixture.rows) {
    for (double& value : row) {
      file >> word;
      value = std::strtod(word.c_str(), nullptr);  // a stream refuses what is below DBL_MIN
    }
  }
  EXPECT_TRUE(file) << path;
  EXPECT_GE(cases, 100u) << path;
  return fixture;
}

// |found - expected| <= relative |expected| + absolute.
inline ::testing::AssertionResult IsNear(double found, double expected, double relative,
                                         double absolute = 0) {
  if (std::abs(found - expected) <= relative * std::abs(expected) + absolute) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure()
         << found << " instead of " << expected << ", off by "
         << std::abs(found - expected) / std::max(std::abs(expected), 1e-300);
}

}  // namespace skipstone::statistics
