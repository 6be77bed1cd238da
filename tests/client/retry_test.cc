#include "client/retry.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::system_clock;

const grpc::Status kUnavailable(grpc::StatusCode::UNAVAILABLE, "loading");
constexpr milliseconds kDay = hours(24);

// The waits of one call whose every attempt fails, up to `count`.
std::vector<int64_t> Waits(const CallOptions& options, int count) {
  RetryState retry(options, std::nullopt);
  std::vector<int64_t> waits;
  for (int i = 0; i < count; ++i) {
    const auto wait = retry.NextWait(kUnavailable, std::nullopt);
    if (!wait) break;
    waits.push_back(wait->count());
  }
  return waits;
}

std::optional<milliseconds> WaitAfterPushback(const std::string& pushback,
                                              Deadline deadline = std::nullopt) {
  const CallOptions options;
  return RetryState(options, deadline).NextWait(kUnavailable, pushback);
}

TEST(RetryTest, OnlyUnavailableAndResourceExhausted) {
  const CallOptions options;
  for (int code = 0; code <= 16; ++code) {
    RetryState retry(options, std::nullopt);
    const grpc::Status status(static_cast<grpc::StatusCode>(code), "");
    EXPECT_EQ(retry.NextWait(status, std::nullopt).has_value(),
              code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::RESOURCE_EXHAUSTED)
        << code;
  }
}

TEST(RetryTest, BackoffGrowsToItsCapWithoutJitterExactly) {
  CallOptions options;
  options.retry = {.max_attempts = 7,
                   .initial_backoff = milliseconds(100),
                   .max_backoff = milliseconds(1000),
                   .multiplier = 2,
                   .jitter = 0};
  EXPECT_EQ(Waits(options, 100), (std::vector<int64_t>{100, 200, 400, 800, 1000, 1000}));
}

TEST(RetryTest, JitterFillsItsBoundsAndDoesNotCompound) {
  CallOptions options;
  options.retry = {.max_attempts = 6,
                   .initial_backoff = milliseconds(1000),
                   .max_backoff = milliseconds(4000),
                   .multiplier = 2,
                   .jitter = 0.25};
  const std::vector<int64_t> nominal = {1000, 2000, 4000, 4000, 4000};
  std::vector<double> ratios;
  for (int call = 0; call < 400; ++call) {
    const std::vector<int64_t> waits = Waits(options, 100);
    ASSERT_EQ(waits.size(), nominal.size());
    for (size_t i = 0; i < waits.size(); ++i) {
      ratios.push_back(static_cast<double>(waits[i]) / nominal[i]);
    }
  }
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  EXPECT_GE(*least, 0.749);  // waits are whole milliseconds
  EXPECT_LT(*least, 0.77);
  EXPECT_LE(*most, 1.25);
  EXPECT_GT(*most, 1.23);
}

TEST(RetryTest, AttemptsAreBounded) {
  CallOptions options;
  for (const int attempts : {1, 2, 4}) {
    options.retry.max_attempts = attempts;
    EXPECT_EQ(Waits(options, 100).size(), attempts - 1);
  }
}

TEST(RetryTest, BackoffOfAnyLengthIsBoundedByADay) {
  CallOptions options;
  options.retry = {.max_attempts = 100,
                   .initial_backoff = milliseconds::max(),
                   .max_backoff = milliseconds::max(),
                   .multiplier = 1e300};
  for (const int64_t wait : Waits(options, 99)) {
    EXPECT_GE(wait, kDay.count() * 0.79);
    EXPECT_LE(wait, kDay.count());
  }
}

TEST(RetryTest, PushbackIsTheWaitAndStartsTheBackoffAnew) {
  CallOptions options;
  options.retry = {.max_attempts = 10, .initial_backoff = milliseconds(100), .jitter = 0};
  RetryState retry(options, std::nullopt);
  EXPECT_EQ(retry.NextWait(kUnavailable, std::nullopt), milliseconds(100));
  EXPECT_EQ(retry.NextWait(kUnavailable, std::nullopt), milliseconds(200));
  EXPECT_EQ(retry.NextWait(kUnavailable, "0"), milliseconds(0));
  EXPECT_EQ(retry.NextWait(kUnavailable, "1234"), milliseconds(1234));
  EXPECT_EQ(retry.NextWait(kUnavailable, std::nullopt), milliseconds(100));
}

TEST(RetryTest, PushbackCountsAsAnAttempt) {
  CallOptions options;
  options.retry.max_attempts = 2;
  RetryState retry(options, std::nullopt);
  EXPECT_EQ(retry.NextWait(kUnavailable, "1"), milliseconds(1));
  EXPECT_EQ(retry.NextWait(kUnavailable, "1"), std::nullopt);
}

TEST(RetryTest, NegativeOrUnreadablePushbackMeansNever) {
  for (const char* pushback : {"-1", "-9223372036854775808", "", "soon", "1.5", "1s",
                               "9223372036854775808", "99999999999999999999"}) {
    EXPECT_EQ(WaitAfterPushback(pushback), std::nullopt) << pushback;
  }
}

TEST(RetryTest, HugePushbackDoesNotOverflow) {
  const std::string huge = "9223372036854775807";
  EXPECT_EQ(WaitAfterPushback(huge), kDay);
  EXPECT_EQ(WaitAfterPushback(huge, system_clock::now() + hours(1000)), std::nullopt);
}

TEST(RetryTest, DoesNotWaitBeyondTheDeadline) {
  EXPECT_EQ(WaitAfterPushback("3600000", system_clock::now() + seconds(3500)), std::nullopt);
  EXPECT_EQ(WaitAfterPushback("3600000", system_clock::now() + seconds(3700)), hours(1));
  EXPECT_EQ(WaitAfterPushback("0", system_clock::now() - seconds(1)), std::nullopt);
}

TEST(RetryTest, WaitForNextReturnsWhenTheWaitIsOver) {
  CallOptions options;
  Cancellation cancellation;
  for (Cancellation* handle : {static_cast<Cancellation*>(nullptr), &cancellation}) {
    options.cancellation = handle;
    RetryState retry(options, std::nullopt);
    grpc::Status status = kUnavailable;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(retry.WaitForNext(status, "20"));
    EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(20));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  }
}

TEST(RetryTest, WaitForNextKeepsTheStatusOfACallThatIsNotRetried) {
  const CallOptions options;
  RetryState retry(options, std::nullopt);
  grpc::Status status(grpc::StatusCode::NOT_FOUND, "no such level");
  EXPECT_FALSE(retry.WaitForNext(status, std::nullopt));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "no such level");
}

TEST(RetryTest, CancellationEndsTheWait) {
  Cancellation cancellation;
  CallOptions options;
  options.cancellation = &cancellation;
  RetryState retry(options, std::nullopt);
  grpc::Status status = kUnavailable;
  auto again = std::async(std::launch::async, [&] { return retry.WaitForNext(status, "3600000"); });
  cancellation.Cancel();
  EXPECT_FALSE(again.get());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
}

}  // namespace
}  // namespace skipstone::client
