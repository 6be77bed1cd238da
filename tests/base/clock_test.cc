#include "base/clock.h"

#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace skipstone {
namespace {

TEST(ClockTest, SystemClockIsTheSteadyClock) {
  const Time before = std::chrono::steady_clock::now();
  const Time now = SystemClock().Now();
  const Time after = std::chrono::steady_clock::now();
  EXPECT_LE(before, now);
  EXPECT_LE(now, after);
}

TEST(ClockTest, NeverLiesBehindEveryTime) { EXPECT_GT(kNever, SystemClock().Now()); }

TEST(ClockTest, ConvertsDurationsToSecondsAndMilliseconds) {
  EXPECT_DOUBLE_EQ(Seconds(std::chrono::milliseconds(1500)), 1.5);
  EXPECT_DOUBLE_EQ(Milliseconds(std::chrono::microseconds(250)), 0.25);
  EXPECT_DOUBLE_EQ(Seconds(-std::chrono::seconds(2)), -2);
}

// Asks for the time when the process ends, after what was made later is gone, as the log's thread
// may.
struct AsksAtTheEnd {
  ~AsksAtTheEnd() { SystemClock().Now(); }
};

TEST(ClockDeathTest, SystemClockIsThereUntilTheProcessIsGone) {
  const auto end = [] {
    static const AsksAtTheEnd asks;
    SystemClock().Now();
    std::exit(0);
  };
  EXPECT_EXIT(end(), testing::ExitedWithCode(0), testing::IsEmpty());
}

TEST(FakeClockTest, MovesOnlyWhenToldTo) {
  FakeClock clock;
  const Time start = clock.Now();
  EXPECT_EQ(clock.Now(), start);
  clock.Advance(std::chrono::seconds(3));
  EXPECT_DOUBLE_EQ(Seconds(clock.Now() - start), 3);
}

}  // namespace
}  // namespace skipstone
