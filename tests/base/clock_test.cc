#include "base/clock.h"

#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

TEST(SystemClockTest, NeverGoesBack) {
  Time last = SystemClock().Now();
  for (int i = 0; i < 1000; ++i) {
    const Time now = SystemClock().Now();
    EXPECT_GE(now, last);
    last = now;
  }
}

// Asks for the time when the process ends, after what was made later is gone.
struct AsksAtTheEnd {
  ~AsksAtTheEnd() { SystemClock().Now(); }
};

// The log's thread does.
TEST(SystemClockDeathTest, IsThereUntilTheProcessIsGone) {
  const auto end = [] {
    static const AsksAtTheEnd asks;
    SystemClock().Now();
    std::exit(0);
  };
  EXPECT_EXIT(end(), testing::ExitedWithCode(0), testing::IsEmpty());
}

}  // namespace
}  // namespace skipstone
