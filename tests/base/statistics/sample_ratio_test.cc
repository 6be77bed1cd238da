#include "base/statistics/sample_ratio.h"

#include <cmath>
#include <vector>

#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

TEST(SampleRatioTest, IsWhatOtherPackagesFind) {
  const Fixture fixture = ReadFixture("sample_ratio", 2);
  for (size_t i = 0; i < fixture.rows.size(); ++i) {
    SCOPED_TRACE(i);
    Inputs in(fixture.seed, i);
    std::vector<double> weights(in.Whole(2, 5));
    double sum = 0;
    for (double& w : weights) sum += w = in.Uniform(0.1, 1);
    const double scale = std::ldexp(1, in.Whole(4, 12));
    auto test = SampleRatioTest::Create(weights);
    ASSERT_TRUE(test.ok());
    std::vector<int64_t> counts(weights.size());
    for (int look = 0; look < 5; ++look) {
      for (size_t arm = 0; arm < weights.size(); ++arm) {
        counts[arm] += static_cast<int64_t>(scale * (weights[arm] / sum) * in.Uniform(0.9, 1.1));
      }
      ASSERT_TRUE(test->Look(counts).ok());
    }
    // Their differences of ln Gamma have lost some digits at the larger counts.
    EXPECT_TRUE(IsNear(test->p_value(), fixture.rows[i][0], 1e-9));
    EXPECT_TRUE(IsNear(*SampleRatioChiSquarePValue(counts, weights), fixture.rows[i][1], 1e-9));
  }
}

TEST(SampleRatioTest, RemembersAMismatchThatWentAway) {
  auto test = SampleRatioTest::Create({1, 1});
  EXPECT_EQ(test->p_value(), 1);
  ASSERT_TRUE(test->Look(std::vector<int64_t>{3000, 2000}).ok());
  const double p_value = test->p_value();
  EXPECT_LT(p_value, 1e-9);
  ASSERT_TRUE(test->Look(std::vector<int64_t>{10'000, 10'000}).ok());
  EXPECT_EQ(test->p_value(), p_value);
}

TEST(SampleRatioTest, OnlyProportionsOfWeightsCount) {
  const std::vector<int64_t> counts = {5100, 4900, 100};
  auto a = SampleRatioTest::Create({50, 50, 1});
  auto b = SampleRatioTest::Create({0.5, 0.5, 0.01});
  ASSERT_TRUE(a->Look(counts).ok() && b->Look(counts).ok());
  EXPECT_TRUE(IsNear(a->p_value(), b->p_value(), 1e-12));
}

TEST(SampleRatioTest, BadInputIsRefused) {
  for (const std::vector<double>& weights : std::vector<std::vector<double>>{
           {}, {1}, {1, 0}, {1, -1}, {1, NAN}, {1, INFINITY}, {1e308, 1e308}}) {
    EXPECT_EQ(SampleRatioTest::Create(weights).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(
        SampleRatioChiSquarePValue(std::vector<int64_t>(weights.size(), 5), weights).has_value());
  }
  EXPECT_EQ(SampleRatioTest::Create({1, 1}, 0).status().code(), absl::StatusCode::kInvalidArgument);
  auto test = SampleRatioTest::Create({1, 1});
  EXPECT_EQ(test->Look(std::vector<int64_t>{1}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(test->Look(std::vector<int64_t>{1, -1}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(test->p_value(), 1);
  EXPECT_FALSE(SampleRatioChiSquarePValue(std::vector<int64_t>{0, 0}, std::vector{1.0, 1.0}));
}

}  // namespace
}  // namespace skipstone::statistics
