#include "engine/queue_room.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using testing::AllOf;
using testing::HasSubstr;

EngineRequest Of(const std::string& tenant, int n = 1) {
  EngineRequest request{.id = "a", .prompt = std::vector<int32_t>(10), .skip = SkipSet(2)};
  request.tenant = tenant;
  request.n = n;
  return request;
}

const Time kNow{std::chrono::seconds(100)};

TEST(QueueRoomTest, BoundsWhatWaitsOfATenant) {
  QueueMeter queue;
  const LiveCalls live;
  const QueueRoom room({.max_tenant_queued = 3}, queue, live);
  queue.Enter({.sequences = 2}, "a");
  EXPECT_TRUE(room.Check(Of("a")).ok());
  EXPECT_TRUE(room.Check(Of("b", 3)).ok());
  const absl::Status refused = room.Check(Of("a", 2));
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_THAT(std::string(refused.message()), AllOf(HasSubstr("tenant 'a'"), HasSubstr("2 of its"),
                                                    HasSubstr("max_tenant_queued is 3")));
}

TEST(QueueRoomTest, TellsEachThatWasRefusedALaterTime) {
  QueueMeter queue;
  const LiveCalls live;
  QueueRoom room({.max_queue = 8}, queue, live);
  queue.Enter({.sequences = 8, .prompt_tokens = 80});
  for (int i = 0; i < 10; ++i) {  // 10 a second
    queue.Enter({.sequences = 1, .prompt_tokens = 10});
    queue.Start({.sequences = 1, .prompt_tokens = 10}, kNow - std::chrono::milliseconds(1));
  }
  std::vector<double> waits;
  for (int i = 0; i < 20; ++i) waits.push_back(Seconds(room.RetryAfter({1, 10}, "", kNow)));
  for (int i = 0; i < 20; ++i) EXPECT_NEAR(waits[i], (i + 1) / 10., 0.1) << i;
  // When the first ones are back, their places are in the queue again.
  const Time later = kNow + std::chrono::seconds(1);
  for (int i = 0; i < 10; ++i) {
    queue.Enter({.sequences = 1, .prompt_tokens = 10});
    queue.Start({.sequences = 1, .prompt_tokens = 10}, later - std::chrono::milliseconds(1));
  }
  EXPECT_NEAR(Seconds(room.RetryAfter({1, 10}, "", later)), 1.1, 0.2) << "behind the ten others";
}

TEST(QueueRoomTest, PromisesNothingBeyondTheLongest) {
  QueueMeter queue;
  const LiveCalls live;
  QueueRoom room({.max_queue = 1}, queue, live);
  queue.Enter({.sequences = 1, .prompt_tokens = 10});
  for (int i = 0; i < 100; ++i) {
    EXPECT_LE(room.RetryAfter({16, 160}, "", kNow), PromisedPlaces::kLongest);
  }
}

TEST(QueueRoomTest, PromisesNothingToWhoWantsNoPlace) {
  QueueMeter queue;
  const LiveCalls live;
  QueueRoom room({.max_queue = 1}, queue, live);
  queue.Enter({.sequences = 1, .prompt_tokens = 10});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Seconds(room.RetryAfter({}, "", kNow)), 1);
}

TEST(QueueRoomTest, TheTenantsExcessCounts) {
  QueueMeter queue;
  const LiveCalls live;
  QueueRoom room({.max_tenant_queued = 2}, queue, live);
  queue.Enter({.sequences = 2, .prompt_tokens = 20}, "a");
  EXPECT_EQ(Seconds(room.RetryAfter({2, 20}, "a", kNow)), 1);
  EXPECT_EQ(Seconds(room.RetryAfter({2, 20}, "a", kNow)), 2) << "behind the first";
}

TEST(PromisedPlacesTest, APlaceIsTakenUntilItsTime) {
  PromisedPlaces places;
  const Time start{std::chrono::seconds(100)};
  places.Promise({.sequences = 1, .prompt_tokens = 10}, start,
                 start + std::chrono::milliseconds(500));
  places.Promise({.sequences = 2, .prompt_tokens = 20}, start, start + std::chrono::seconds(3));
  EXPECT_EQ(places.Outstanding(start).sequences, 3);
  EXPECT_EQ(places.Outstanding(start).prompt_tokens, 30);
  EXPECT_EQ(places.Outstanding(start + std::chrono::seconds(1)).sequences, 2);
  EXPECT_EQ(places.Outstanding(start + std::chrono::seconds(4)).sequences, 0);
}

TEST(PromisedPlacesTest, ThereIsRoomForEachTimeUpToTheLongest) {
  PromisedPlaces places;
  Time now{std::chrono::seconds(100)};
  int made = 0;
  for (int round = 0; round < 3; ++round) {  // the slots are used again
    for (Duration wait{}; wait <= PromisedPlaces::kLongest; wait += std::chrono::milliseconds(10)) {
      places.Promise({.sequences = 1}, now, now + wait);
      ++made;
    }
    EXPECT_EQ(places.Outstanding(now).sequences, made);
    now += PromisedPlaces::kLongest + std::chrono::seconds(1);
    EXPECT_EQ(places.Outstanding(now).sequences, 0);
    made = 0;
  }
}

}  // namespace
}  // namespace skipstone
