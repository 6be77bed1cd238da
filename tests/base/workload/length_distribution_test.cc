#include "base/workload/length_distribution.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

std::vector<int> Draw(const char* text, int count) {
  const LengthDistribution lengths = *LengthDistribution::Parse(text);
  std::mt19937_64 random(5);
  std::vector<int> values(count);
  for (int& value : values) value = lengths.Draw(random);
  std::sort(values.begin(), values.end());
  return values;
}

TEST(LengthDistributionTest, FixedAndEven) {
  const std::vector<int> fixed = Draw("128", 10);
  EXPECT_EQ(fixed.front(), 128);
  EXPECT_EQ(fixed.back(), 128);
  const std::vector<int> even = Draw("3-6", 4000);
  for (int value = 3; value <= 6; ++value) {
    EXPECT_NEAR(std::count(even.begin(), even.end(), value), 1000, 100) << value;
  }
}

TEST(LengthDistributionTest, LogNormalHasItsMedianAndSigma) {
  const std::vector<int> values = Draw("lognormal:1000:0.5", 20001);
  EXPECT_NEAR(values[10000], 1000, 25);
  EXPECT_NEAR(std::log(values[16828] / 1000.0), 0.5, 0.02);  // the quantile of one sigma
  EXPECT_GE(Draw("lognormal:1:3", 1000).front(), 1);
}

TEST(LengthDistributionTest, ErrorsNameTheText) {
  for (const char* text : {"", "0", "9-3", "1-2-3", "x", "lognormal:0:1", "lognormal:5",
                           "lognormal:5:-1", "normal:5:1", "lognormal:5:nan", "99999999"}) {
    const auto lengths = LengthDistribution::Parse(text);
    ASSERT_FALSE(lengths.ok()) << text;
    EXPECT_THAT(std::string(lengths.status().message()),
                ::testing::StartsWith("\"" + std::string(text) + "\" is not"));
  }
}

}  // namespace
}  // namespace skipstone
