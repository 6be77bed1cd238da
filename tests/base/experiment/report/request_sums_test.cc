#include "base/experiment/report/request_sums.h"

#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"

namespace skipstone::experiment {
namespace {

TEST(RequestSumsTest, TheServersFaultsAreFailures) {
  for (const char* outcome : {"error", "rejected", "deadline"}) EXPECT_TRUE(IsFailure(outcome));
  for (const char* outcome : {"ok", "cancelled", "aborted", "time_limit", "", "Error"}) {
    EXPECT_FALSE(IsFailure(outcome)) << outcome;
  }
}

TEST(RequestSumsTest, ARequestAddsWhatItHas) {
  ExposureRecord record = MixedRecord(1, 1, "control");
  record.outcome = "error";
  record.shadow = Shadow(0.05, 45);
  const WindowSums sums = SumsOf(record);
  EXPECT_EQ(sums[kRequests], 1);
  EXPECT_EQ(sums[kFailures], 1);
  EXPECT_EQ(sums[kAttributedS], 0.3);
  EXPECT_EQ(sums[kTokens], 150);
  EXPECT_EQ(sums[kGeneratedTokens], 50);
  EXPECT_EQ(sums[kPages], 32);
  EXPECT_EQ(sums[kShadowTokens], 50);
  EXPECT_DOUBLE_EQ(sums[kKlNats], 2.5);
  EXPECT_EQ(sums[kAgreeingTokens], 45);
  EXPECT_DOUBLE_EQ(sums[kLogprobNats], 0.05);
  EXPECT_EQ(sums[kBrier], 5);
  EXPECT_EQ(sums[kE2eS], 1);
  EXPECT_EQ(sums[kTtftS], 0.1);
  EXPECT_EQ(sums[kItlS], 0.02);
}

TEST(RequestSumsTest, WhatARequestLacksHasNoDenominator) {
  const WindowSums sums = SumsOf({});
  EXPECT_EQ(sums[kRequests], 1);
  for (const Sum sum : {kShadowTokens, kTtftRequests, kItlRequests, kTokens, kFailures}) {
    EXPECT_EQ(sums[sum], 0) << sum;
  }
}

TEST(RequestSumsTest, SumsAddUp) {
  UnitSums unit = {};
  AddTo(unit, SumsOf(MixedRecord(1, 1, "control")));
  AddTo(unit, SumsOf(MixedRecord(2, 1, "control")));
  EXPECT_EQ(unit[kRequests], 2);
  EXPECT_EQ(unit[kTokens], 300);
}

}  // namespace
}  // namespace skipstone::experiment
