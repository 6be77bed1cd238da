#include "server/quota.h"

#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Time kStart{seconds(1000)};

TEST(QuotaTest, HoldsAMinuteAndIsRefilledEvenly) {
  Quota quota(60);
  for (int i = 0; i < 60; ++i) EXPECT_EQ(quota.TryTake(1, kStart), Duration::zero());
  EXPECT_GT(quota.TryTake(1, kStart), Duration::zero());
  EXPECT_EQ(quota.TryTake(1, kStart + seconds(1)), Duration::zero());
  EXPECT_GT(quota.TryTake(1, kStart + seconds(1)), Duration::zero());
  for (int i = 0; i < 60; ++i) EXPECT_EQ(quota.TryTake(1, kStart + minutes(60)), Duration::zero());
  EXPECT_GT(quota.TryTake(1, kStart + minutes(60)), Duration::zero()) << "no more than a minute's";
}

TEST(QuotaTest, WhatWasTakenTooMuchIsWaitedFor) {
  Quota quota(60);
  quota.Take(90, kStart);
  const Duration wait = quota.Wait(kStart);
  EXPECT_GE(wait, seconds(30));
  EXPECT_LE(wait, seconds(30) + milliseconds(1));
  EXPECT_GT(quota.Wait(kStart + wait - milliseconds(2)), Duration::zero());
  EXPECT_EQ(quota.Wait(kStart + wait), Duration::zero());
  EXPECT_GT(quota.TryTake(1, kStart + wait), Duration::zero())
      << "there is something, not that much";
  EXPECT_EQ(quota.TryTake(1, kStart + wait + seconds(1)), Duration::zero());
}

TEST(QuotaTest, WithoutALimitThereIsAlwaysSomething) {
  Quota quota(0);
  quota.Take(1e9, kStart);
  EXPECT_EQ(quota.TryTake(1e9, kStart), Duration::zero());
  EXPECT_EQ(quota.Wait(kStart), Duration::zero());
}

TEST(QuotaTest, AnotherLimitKeepsWhatWasTaken) {
  Quota quota(60);
  quota.Take(50, kStart);
  quota.SetPerMinute(50);
  EXPECT_GT(quota.TryTake(1, kStart), Duration::zero());
  quota.SetPerMinute(100);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(quota.TryTake(1, kStart), Duration::zero());
  EXPECT_GT(quota.TryTake(1, kStart), Duration::zero());
}

TEST(QuotaTest, AClockThatStandsOrGoesBackGivesNothing) {
  Quota quota(60);
  quota.Take(60, kStart);
  EXPECT_GT(quota.TryTake(1, kStart - minutes(5)), Duration::zero());
  quota.Take(0, kStart - minutes(5));
  EXPECT_EQ(quota.TryTake(1, kStart + seconds(1)), Duration::zero());
  EXPECT_GT(quota.TryTake(1, kStart + seconds(1)), Duration::zero());
}

}  // namespace
}  // namespace skipstone::server
