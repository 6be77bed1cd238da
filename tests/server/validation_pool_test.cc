#include "server/validation_pool.h"

#include <atomic>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/support/gate.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;

constexpr size_t kSmall = 100;
constexpr size_t kLarge = ValidationPool::kLargeBytes + 1;

// What became of jobs, in order.
class Record {
 public:
  ValidationPool::Work Job(const std::string& name, Gate* gate = nullptr) {
    return [this, name, gate](const absl::Status& status) {
      if (gate != nullptr) gate->Pass();
      MutexLock lock(mutex_);
      done_.push_back(status.ok() ? name : name + " " + absl::StatusCodeToString(status.code()));
    };
  }
  std::vector<std::string> done() {
    MutexLock lock(mutex_);
    return done_;
  }

 private:
  Mutex mutex_;
  std::vector<std::string> done_;
};

TEST(ValidationPoolTest, TakesSmallAndLargeRequestsInTurn) {
  Record record;
  Gate gate;
  gate.Close();
  {
    ValidationPool pool({.threads = 1});
    pool.Add(kSmall, record.Job("first", &gate));
    gate.WaitArrivals(1);
    for (const char* name : {"L1", "L2", "L3"}) pool.Add(kLarge, record.Job(name));
    for (const char* name : {"s1", "s2"}) pool.Add(kSmall, record.Job(name));
    gate.Open();
  }
  EXPECT_THAT(record.done(), testing::ElementsAre("first", "L1", "s1", "L2", "s2", "L3"));
}

TEST(ValidationPoolTest, LargeRequestsLeaveAThreadToTheSmall) {
  Record record;
  Gate gate;
  gate.Close();
  ValidationPool pool({.threads = 3});
  for (int i = 0; i < 8; ++i) pool.Add(kLarge, record.Job("large", &gate));
  gate.WaitArrivals(2);
  for (int i = 0; i < 5; ++i) pool.Add(kSmall, record.Job("small"));
  EXPECT_TRUE(Eventually([&] { return record.done().size() == 5; }));
  EXPECT_EQ(gate.arrivals(), 2) << "two of three threads";
  gate.Open();
  EXPECT_TRUE(Eventually([&] { return record.done().size() == 13; }));
}

TEST(ValidationPoolTest, RefusesWhatExceedsItsBounds) {
  Record record;
  Gate gate;
  gate.Close();
  ValidationPool pool({.threads = 1, .max_waiting_bytes = 3 * kLarge, .max_waiting_calls = 4});
  pool.Add(kSmall, record.Job("running", &gate));
  gate.WaitArrivals(1);
  absl::Status refusal;
  const auto refused = [&](const absl::Status& status) { refusal = status; };
  for (int i = 0; i < 3; ++i) pool.Add(kLarge, record.Job("L"));
  pool.Add(kLarge, refused);
  EXPECT_TRUE(absl::IsResourceExhausted(refusal)) << refusal;
  EXPECT_THAT(std::string(refusal.message()), HasSubstr("bytes of requests wait"));
  for (int i = 0; i < 4; ++i) pool.Add(kSmall, record.Job("s"));
  pool.Add(kSmall, refused);
  EXPECT_THAT(std::string(refusal.message()),
              HasSubstr("4 requests wait to be read, the limit is 4"));
  EXPECT_FALSE(IsNeverFits(refusal));
  pool.Add(ValidationPool::kMaxRequestBytes + 1, refused);
  EXPECT_TRUE(IsNeverFits(refusal)) << refusal;
  EXPECT_THAT(std::string(refusal.message()), HasSubstr("4194305 bytes, the limit is 4194304"));
  EXPECT_TRUE(record.done().empty());
  gate.Open();
  EXPECT_TRUE(Eventually([&] { return record.done().size() == 8; }));
  pool.Add(kLarge, record.Job("again"));
  EXPECT_TRUE(Eventually([&] { return record.done().size() == 9; })) << "what left makes room";
}

TEST(ValidationPoolTest, AWithdrawnRequestIsNotRead) {
  Record record;
  Gate gate;
  gate.Close();
  ValidationPool pool({.threads = 1, .max_waiting_bytes = kLarge});
  const auto running = pool.Add(kSmall, record.Job("running", &gate));
  gate.WaitArrivals(1);
  const auto waiting = pool.Add(kLarge, record.Job("waiting"));
  pool.Withdraw(waiting, absl::CancelledError(""));
  EXPECT_THAT(record.done(), testing::ElementsAre("waiting CANCELLED"));
  pool.Withdraw(waiting, absl::CancelledError(""));
  pool.Withdraw(running, absl::CancelledError(""));
  pool.Add(kLarge, record.Job("next"));  // its room is free
  gate.Open();
  EXPECT_TRUE(Eventually([&] { return record.done().size() == 3; }));
  EXPECT_THAT(record.done(), testing::ElementsAre("waiting CANCELLED", "running", "next"));
}

}  // namespace
}  // namespace skipstone::server
