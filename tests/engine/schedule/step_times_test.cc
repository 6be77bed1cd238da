#include "engine/schedule/step_times.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// A machine on which a step takes 10 ms and 100 us a prompt row.
void Step(StepTimes* times, int decode_rows, double work) {
  const StepPlan plan{.decode_rows = decode_rows, .prefill_work = work};
  times->Observe(plan,
                 milliseconds(10) + std::chrono::duration_cast<Duration>(microseconds(100) * work));
}

TEST(StepTimesTest, BoundsNothingWithoutABound) {
  StepTimes times(Duration::zero(), 512);
  Step(&times, 1, 100);
  EXPECT_TRUE(std::isinf(times.PrefillLimit()));
}

TEST(StepTimesTest, LearnsHowMuchPrefillTheBoundAllows) {
  StepTimes times(milliseconds(20), 512);
  EXPECT_EQ(times.PrefillLimit(), 16) << "nothing is known yet: a prompt gets on by a little";
  Step(&times, 0, 512);  // 61.2 ms: 120 us a row, the empty step included
  EXPECT_NEAR(times.PrefillLimit(), 20.0 / 0.1195, 1);
  Step(&times, 8, 0);
  for (int i = 0; i < 60; ++i) Step(&times, 8, times.PrefillLimit());
  EXPECT_NEAR(times.PrefillLimit(), 200, 2) << "20 ms of 100 us";
}

TEST(StepTimesTest, GoesNoFurtherThanTwiceWhatWasTried) {
  StepTimes times(milliseconds(20), 512);
  Step(&times, 8, 0);
  // A step beside decode rows that was no longer than one without prefill: noise, not a rate.
  times.Observe({.decode_rows = 8, .prefill_work = 20}, milliseconds(9));
  EXPECT_LE(times.PrefillLimit(), 40);
}

TEST(StepTimesTest, MeasuresDecodeRowsAloneNowAndThen) {
  StepTimes times(milliseconds(20), 512);
  Step(&times, 8, 0);
  int alone = 0;
  for (int i = 0; i < 250; ++i) {
    const double work = std::min(100.0, times.PrefillLimit());
    alone += work == 0 ? 1 : 0;
    // Decode rows take ever longer, up to 60 ms; prefill does not.
    const auto time = milliseconds(std::min(60, 10 + i)) + 0.1 * work * milliseconds(1);
    times.Observe({.decode_rows = 8, .prefill_work = work},
                  std::chrono::duration_cast<Duration>(time));
  }
  EXPECT_EQ(alone, 7);
  EXPECT_GT(times.PrefillLimit(), 60) << "and not 16: the batch has grown, not the price";
}

TEST(StepTimesTest, FollowsAContextThatGrowsDearer) {
  StepTimes times(milliseconds(20), 512);
  Step(&times, 8, 0);
  for (int i = 0; i < 15; ++i) Step(&times, 8, 100);
  for (int i = 0; i < 15; ++i) {
    times.Observe({.decode_rows = 8, .prefill_work = 100}, milliseconds(10 + 40));
  }
  EXPECT_NEAR(times.PrefillLimit(), 50, 2);
}

TEST(StepTimesTest, KnowsTheBestRateOnlyFromSeveralFullSteps) {
  StepTimes times(Duration::zero(), 512);
  for (int i = 0; i < 100; ++i) Step(&times, 1, 10);  // small steps say nothing
  EXPECT_EQ(times.BestPrefillRate(), 0);
  for (int i = 0; i < 8; ++i) Step(&times, 0, 512);
  EXPECT_NEAR(times.BestPrefillRate(), 512 / 0.0612, 5);
  times.Observe({.prefill_work = 512}, milliseconds(500));  // a slow one
  EXPECT_NEAR(times.BestPrefillRate(), 512 / 0.0612, 5);
}

TEST(StepTimesTest, ShadowsSayNothingOfOthers) {
  StepTimes times(milliseconds(20), 512);
  Step(&times, 8, 0);
  for (int i = 0; i < 15; ++i) Step(&times, 8, 100);
  const double before = times.PrefillLimit();
  for (int i = 0; i < 15; ++i) {
    times.Observe({.decode_rows = 8, .shadow_rows = 32}, milliseconds(500));
    times.Observe({.shadow_rows = 32}, milliseconds(1));
  }
  EXPECT_EQ(times.PrefillLimit(), before);
}

}  // namespace
}  // namespace skipstone
