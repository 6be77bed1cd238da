#include "client/call_attempt.h"

#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::system_clock;

Deadline DeadlineAfter(std::optional<milliseconds> timeout) {
  CallOptions options;
  options.timeout = timeout;
  return DeadlineOf(options);
}

TEST(CallAttemptTest, TimeoutCountsFromNow) {
  const auto before = system_clock::now();
  const Deadline deadline = DeadlineAfter(milliseconds(1500));
  ASSERT_TRUE(deadline.has_value());
  EXPECT_GE(*deadline, before + milliseconds(1500));
  EXPECT_LE(*deadline, system_clock::now() + milliseconds(1500));
}

TEST(CallAttemptTest, TimeoutsBeyondTheClockDoNotOverflow) {
  EXPECT_EQ(DeadlineAfter(std::nullopt), std::nullopt);
  EXPECT_EQ(DeadlineAfter(milliseconds::max()), std::nullopt);
  EXPECT_LT(DeadlineAfter(milliseconds::min()).value(), system_clock::now());
  EXPECT_LT(DeadlineAfter(milliseconds(-1)).value(), system_clock::now());
}

TEST(CallAttemptTest, ContextCarriesDeadline) {
  CallOptions options;
  const auto deadline = system_clock::now() + std::chrono::hours(1);
  CallAttempt attempt(options, deadline);
  EXPECT_EQ(attempt.context().deadline(), deadline);
}

}  // namespace
}  // namespace skipstone::client
