#include "client/retry.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <string>
#include <vector>

#include "client/channel.h"
#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::system_clock;

const grpc::Status kUnavailable(grpc::StatusCode::UNAVAILABLE, "loading");
const grpc::Status kExhausted(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full");
constexpr milliseconds kDay = hours(24);
constexpr Deadline kNoDeadline;

// For waits that are not of the one call's first ten seconds.
Deadline InAYear() { return system_clock::now() + hours(24 * 365); }

// The waits of one call whose every attempt fails, up to `count`.
std::vector<int64_t> Waits(const CallOptions& options, int count) {
  RetryBudget budget;
  RetryState retry(options, InAYear(), budget);
  std::vector<int64_t> waits;
  for (int i = 0; i < count; ++i) {
    const auto wait = retry.NextWait(kUnavailable, std::nullopt, /*connected=*/false);
    if (!wait) break;
    waits.push_back(wait->count());
  }
  return waits;
}

std::optional<milliseconds> WaitAfterPushback(const std::string& pushback, Deadline deadline,
                                              double jitter = 0,
                                              const grpc::Status& status = kUnavailable) {
  CallOptions options;
  options.retry.jitter = jitter;
  RetryBudget budget;
  return RetryState(options, deadline, budget).NextWait(status, pushback, /*connected=*/true);
}

TEST(RetryTest, OnlyLostCallsUnlessTheServerSaysWhen) {
  const CallOptions options;
  RetryBudget budget;
  for (int code = 0; code <= 16; ++code) {
    const grpc::Status status(static_cast<grpc::StatusCode>(code), "");
    const auto retried = [&](const std::optional<std::string>& pushback) {
      return RetryState(options, kNoDeadline, budget).NextWait(status, pushback, true).has_value();
    };
    const bool lost = code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::CANCELLED;
    EXPECT_EQ(retried(std::nullopt), lost) << code;
    EXPECT_EQ(retried("5"), lost || code == grpc::StatusCode::RESOURCE_EXHAUSTED) << code;
    EXPECT_FALSE(retried("-1")) << code;
  }
}

TEST(RetryTest, WhatTheCallerCancelledStaysCancelled) {
  Cancellation cancellation;
  CallOptions options;
  options.cancellation = &cancellation;
  RetryBudget budget;
  RetryState retry(options, kNoDeadline, budget);
  EXPECT_TRUE(retry.NextWait(grpc::Status::CANCELLED, std::nullopt, true).has_value());
  cancellation.Cancel();
  EXPECT_EQ(retry.NextWait(grpc::Status::CANCELLED, std::nullopt, true), std::nullopt);
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

// Of 400 calls, each wait divided by the backoff of its place.
std::vector<double> WaitShares(double jitter) {
  CallOptions options;
  options.retry = {.max_attempts = 6,
                   .initial_backoff = milliseconds(1000),
                   .max_backoff = milliseconds(4000),
                   .multiplier = 2,
                   .jitter = jitter};
  const std::vector<int64_t> nominal = {1000, 2000, 4000, 4000, 4000};
  std::vector<double> shares;
  for (int call = 0; call < 400; ++call) {
    const std::vector<int64_t> waits = Waits(options, 100);
    EXPECT_EQ(waits.size(), nominal.size());
    for (size_t i = 0; i < waits.size(); ++i) {
      shares.push_back(static_cast<double>(waits[i]) / nominal[i]);
    }
  }
  std::sort(shares.begin(), shares.end());
  return shares;
}

TEST(RetryTest, FullJitterIsTheDefaultAndDoesNotCompound) {
  const std::vector<double> shares = WaitShares(RetryPolicy().jitter);
  EXPECT_GE(shares.front(), 0);
  EXPECT_LT(shares.front(), 0.02);
  EXPECT_NEAR(shares[shares.size() / 2], 0.5, 0.06);
  EXPECT_GT(shares.back(), 0.98);
  EXPECT_LE(shares.back(), 1);
}

TEST(RetryTest, LessJitterKeepsTheRestOfTheBackoff) {
  const std::vector<double> shares = WaitShares(0.25);
  EXPECT_GE(shares.front(), 0.749);  // waits are whole milliseconds
  EXPECT_LT(shares.front(), 0.77);
  EXPECT_LE(shares.back(), 1);
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
                   .multiplier = 1e300,
                   .jitter = 0.2};
  const std::vector<int64_t> waits = Waits(options, 99);
  EXPECT_EQ(waits.size(), 99);
  for (const int64_t wait : waits) {
    EXPECT_GE(wait, kDay.count() * 0.79);
    EXPECT_LE(wait, kDay.count());
  }
}

TEST(RetryTest, PushbackIsTheWaitAndStartsTheBackoffAnew) {
  CallOptions options;
  options.retry = {.max_attempts = 10, .initial_backoff = milliseconds(100), .jitter = 0};
  RetryBudget budget;
  RetryState retry(options, kNoDeadline, budget);
  EXPECT_EQ(retry.NextWait(kUnavailable, std::nullopt, true), milliseconds(100));
  EXPECT_EQ(retry.NextWait(kUnavailable, std::nullopt, true), milliseconds(200));
  EXPECT_EQ(retry.NextWait(kUnavailable, "0", true), milliseconds(0));
  EXPECT_EQ(retry.NextWait(kExhausted, "1234", true), milliseconds(1234));
  EXPECT_EQ(retry.NextWait(kUnavailable, std::nullopt, true), milliseconds(100));
}

TEST(RetryTest, CallersRefusedTogetherComeBackApartAndNeverEarly) {
  for (const auto& [named, most] :
       std::vector<std::pair<int64_t, int64_t>>{{0, 25}, {40, 65}, {1000, 1250}, {4000, 5000}}) {
    std::vector<int64_t> waits;
    for (int caller = 0; caller < 1000; ++caller) {
      const auto wait =
          WaitAfterPushback(std::to_string(named), kNoDeadline, RetryPolicy().jitter, kExhausted);
      ASSERT_TRUE(wait.has_value());
      waits.push_back(wait->count());
    }
    const auto [least, largest] = std::minmax_element(waits.begin(), waits.end());
    EXPECT_GE(*least, named);
    EXPECT_LE(*least, named + (most - named) / 10);
    EXPECT_LE(*largest, most);
    EXPECT_GE(*largest, most - (most - named) / 10);
  }
}

TEST(RetryTest, PushbackCountsAsAnAttempt) {
  CallOptions options;
  options.retry.max_attempts = 2;
  options.retry.jitter = 0;
  RetryBudget budget;
  RetryState retry(options, kNoDeadline, budget);
  EXPECT_EQ(retry.NextWait(kUnavailable, "1", true), milliseconds(1));
  EXPECT_EQ(retry.NextWait(kUnavailable, "1", true), std::nullopt);
}

TEST(RetryTest, NegativeOrUnreadablePushbackMeansNever) {
  for (const char* pushback : {"-1", "-9223372036854775808", "", "soon", "1.5", "1s",
                               "9223372036854775808", "99999999999999999999"}) {
    EXPECT_EQ(WaitAfterPushback(pushback, InAYear()), std::nullopt) << pushback;
    EXPECT_EQ(WaitAfterPushback(pushback, InAYear(), 0, kExhausted), std::nullopt) << pushback;
  }
}

TEST(RetryTest, HugePushbackDoesNotOverflow) {
  EXPECT_EQ(WaitAfterPushback("9223372036854775807", InAYear()), std::nullopt);
  EXPECT_EQ(WaitAfterPushback("9223372036854775807", kNoDeadline), std::nullopt);
  EXPECT_EQ(WaitAfterPushback("31000000000", InAYear()), kDay);
}

TEST(RetryTest, DoesNotWaitBeyondTheDeadline) {
  EXPECT_EQ(WaitAfterPushback("3600000", system_clock::now() + seconds(3500)), std::nullopt);
  EXPECT_EQ(WaitAfterPushback("3600000", system_clock::now() + seconds(3700)), hours(1));
  EXPECT_EQ(WaitAfterPushback("0", system_clock::now() - seconds(1)), std::nullopt);
  CallOptions options;
  options.retry = {.initial_backoff = hours(1), .max_backoff = hours(1), .jitter = 0};
  RetryBudget budget;
  RetryState early(options, system_clock::now() + seconds(3500), budget);
  EXPECT_EQ(early.NextWait(kUnavailable, std::nullopt, false), std::nullopt);
  RetryState late(options, system_clock::now() + seconds(3700), budget);
  EXPECT_EQ(late.NextWait(kUnavailable, std::nullopt, false), hours(1));
}

TEST(RetryTest, WithoutADeadlineTenSecondsAreIt) {
  EXPECT_EQ(RetryPolicy().without_deadline, seconds(10));
  EXPECT_EQ(WaitAfterPushback("9000", kNoDeadline), seconds(9));
  EXPECT_EQ(WaitAfterPushback("10000", kNoDeadline), std::nullopt);
  CallOptions options;
  options.retry.without_deadline = milliseconds(0);
  RetryBudget budget;
  EXPECT_EQ(RetryState(options, kNoDeadline, budget).NextWait(kUnavailable, "0", true),
            std::nullopt);
  options.retry.without_deadline = milliseconds::max();  // a day
  options.retry.jitter = 0;
  EXPECT_EQ(RetryState(options, kNoDeadline, budget).NextWait(kUnavailable, "82800000", true),
            hours(23));
}

TEST(RetryTest, AttemptsAreNotBoundedByDefault) {
  EXPECT_EQ(Waits(CallOptions(), 1000).size(), 1000);
}

// Retries of `calls` calls to a server that is there and always fails.
int RetriesOf(int calls, RetryBudget& budget, const grpc::Status& status,
              const std::optional<std::string>& pushback, bool connected = true) {
  const CallOptions options;
  int retries = 0;
  for (int call = 0; call < calls; ++call) {
    RetryState retry(options, InAYear(), budget);
    for (int i = 0; i < 100 && retry.NextWait(status, pushback, connected); ++i) ++retries;
  }
  return retries;
}

TEST(RetryBudgetTest, AServerThatAlwaysFailsSeesFewRetries) {
  RetryBudget budget;
  EXPECT_FALSE(budget.exhausted());
  EXPECT_EQ(RetriesOf(1000, budget, kUnavailable, std::nullopt), 50);
  EXPECT_TRUE(budget.exhausted());
  EXPECT_EQ(RetriesOf(1000, budget, kUnavailable, "0"), 0);
}

TEST(RetryBudgetTest, SuccessesBringRetriesBack) {
  RetryBudget budget;
  RetriesOf(10, budget, kUnavailable, std::nullopt);
  ASSERT_TRUE(budget.exhausted());
  budget.CallSucceeded();
  EXPECT_FALSE(budget.exhausted());
  for (int i = 0; i < 99; ++i) budget.CallSucceeded();  // ten tokens in all
  EXPECT_EQ(RetriesOf(1000, budget, kUnavailable, std::nullopt), 10);
  for (int i = 0; i < 10'000; ++i) budget.CallSucceeded();
  EXPECT_EQ(RetriesOf(1000, budget, kUnavailable, std::nullopt), 50) << "it does not overflow";
}

TEST(RetryBudgetTest, TriesThatReachNobodyAndTimesThatTheServerNamesAreFree) {
  RetryBudget budget;
  EXPECT_EQ(RetriesOf(10, budget, kUnavailable, std::nullopt, /*connected=*/false), 1000);
  EXPECT_EQ(RetriesOf(10, budget, kExhausted, "1"), 1000);
  EXPECT_FALSE(budget.exhausted());
  RetriesOf(10, budget, kUnavailable, std::nullopt);
  ASSERT_TRUE(budget.exhausted());
  EXPECT_EQ(RetriesOf(10, budget, kUnavailable, std::nullopt, /*connected=*/false), 1000);
  EXPECT_EQ(RetriesOf(10, budget, kExhausted, "1"), 1000);
}

TEST(RetryBudgetTest, TheFirstFailureOfManyCallsAtOnceIsNotHeldAgainstThem) {
  // A connection breaks under 1000 calls: each may come back.
  RetryBudget budget;
  const CallOptions options;
  for (int call = 0; call < 1000; ++call) {
    RetryState retry(options, kNoDeadline, budget);
    EXPECT_TRUE(retry.NextWait(kUnavailable, std::nullopt, true).has_value());
  }
}

TEST(RetryTest, WaitForNextReturnsWhenTheWaitIsOver) {
  const auto channel = MakeChannel("127.0.0.1:1");
  CallOptions options;
  Cancellation cancellation;
  for (Cancellation* handle : {static_cast<Cancellation*>(nullptr), &cancellation}) {
    options.cancellation = handle;
    RetryBudget budget;
    RetryState retry(options, kNoDeadline, budget);
    grpc::Status status = kUnavailable;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(retry.WaitForNext(status, "20", *channel));
    EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(20));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  }
}

TEST(RetryTest, WaitForNextKeepsTheStatusOfACallThatIsNotRetried) {
  const auto channel = MakeChannel("127.0.0.1:1");
  const CallOptions options;
  RetryBudget budget;
  RetryState retry(options, kNoDeadline, budget);
  grpc::Status status(grpc::StatusCode::NOT_FOUND, "no such level");
  EXPECT_FALSE(retry.WaitForNext(status, std::nullopt, *channel));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "no such level");
}

TEST(RetryTest, CancellationEndsTheWait) {
  const auto channel = MakeChannel("127.0.0.1:1");
  Cancellation cancellation;
  CallOptions options;
  options.cancellation = &cancellation;
  RetryBudget budget;
  RetryState retry(options, InAYear(), budget);
  grpc::Status status = kUnavailable;
  auto again = std::async(std::launch::async,
                          [&] { return retry.WaitForNext(status, "3600000", *channel); });
  cancellation.Cancel();
  EXPECT_FALSE(again.get());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
}

}  // namespace
}  // namespace skipstone::client
