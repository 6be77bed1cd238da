#include "engine/schedule/wait_queue.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

class WaitQueueTest : public testing::Test {
 protected:
  // Sequences that arrive one second after the other.
  Sequence& Make(const std::string& tenant = "", int priority = 0, int output_index = 0) {
    SequenceSpec spec{.id = next_++, .prompt = {1, 2, 3}, .skip = SkipSet(2)};
    spec.tenant = tenant;
    spec.priority = priority;
    spec.output_index = output_index;
    spec.arrival = Time(std::chrono::seconds(spec.id));
    sequences_.push_back(std::make_unique<Sequence>(std::move(spec), pool_, 16));
    return *sequences_.back();
  }

  // All that may start now, in order.
  static std::vector<SequenceId> Drain(WaitQueue* queue) {
    std::vector<SequenceId> ids;
    while (Sequence* first = queue->First()) {
      ids.push_back(first->spec.id);
      queue->Start(*first);
    }
    return ids;
  }

  PagePool pool_{0};
  std::vector<std::unique_ptr<Sequence>> sequences_;
  SequenceId next_ = 1;
};

TEST_F(WaitQueueTest, GoesByPriorityThenArrival) {
  WaitQueue queue(/*fair_share=*/false);
  for (const int priority : {0, 0, 1, -1}) queue.Add(Make("", priority), nullptr);
  EXPECT_EQ(queue.size(), 4);
  EXPECT_EQ(Drain(&queue), (std::vector<SequenceId>{3, 1, 2, 4}));
  EXPECT_EQ(queue.size(), 0);
}

TEST_F(WaitQueueTest, APreemptedSequenceTakesItsOldPlace) {
  WaitQueue queue(/*fair_share=*/false);
  Sequence& first = Make();
  queue.Add(first, nullptr);
  queue.Start(first);
  queue.Add(Make(), nullptr);
  queue.Return(first);
  EXPECT_EQ(Drain(&queue), (std::vector<SequenceId>{1, 2}));
}

TEST_F(WaitQueueTest, FairShareGoesToTheTenantServedLeast) {
  WaitQueue queue(/*fair_share=*/true);
  for (int i = 0; i < 3; ++i) queue.Add(Make("greedy"), nullptr);
  queue.Add(Make("modest"), nullptr);
  queue.Serve(*queue.First(), 100);
  EXPECT_EQ(queue.First()->spec.tenant, "modest");
  queue.Serve(*queue.First(), 101);
  EXPECT_EQ(queue.First()->spec.tenant, "greedy");
}

TEST_F(WaitQueueTest, WithoutFairShareTenantsDoNotMatter) {
  WaitQueue queue(/*fair_share=*/false);
  queue.Add(Make("greedy"), nullptr);
  queue.Add(Make("modest"), nullptr);
  queue.Serve(*queue.First(), 100);
  EXPECT_EQ(queue.First()->spec.tenant, "greedy");
}

TEST_F(WaitQueueTest, ATenantThatComesLateGetsNoCredit) {
  WaitQueue queue(/*fair_share=*/true);
  Sequence& early = Make("early");
  queue.Add(early, nullptr);
  queue.Serve(early, 1000);
  Sequence& late = Make("late");
  queue.Add(late, nullptr);
  queue.Serve(late, 1);
  EXPECT_EQ(queue.First(), &early) << "1001 tokens against 1000";
}

TEST_F(WaitQueueTest, ATenantThatLeavesKeepsWhatItWasServed) {
  WaitQueue queue(/*fair_share=*/true);
  Sequence& stays = Make("stays");
  queue.Add(stays, nullptr);
  Sequence& goes = Make("goes");
  queue.Add(goes, nullptr);
  queue.Serve(goes, 1000);
  queue.End(goes);
  Sequence& back = Make("goes");
  queue.Add(back, nullptr);
  queue.Serve(stays, 999);
  EXPECT_EQ(queue.First(), &stays) << "999 tokens against 1000";
  queue.Serve(stays, 2);
  EXPECT_EQ(queue.First(), &back);
}

TEST_F(WaitQueueTest, OfTenantsServedAlikeTheOneThatWaitsLongerGoesFirst) {
  WaitQueue queue(/*fair_share=*/true);
  Sequence& early = Make("z");
  queue.Add(early, nullptr);
  queue.Add(Make("a"), nullptr);
  queue.Add(Make(""), nullptr);
  EXPECT_EQ(queue.First(), &early);
}

TEST_F(WaitQueueTest, FollowersWaitForTheirLeader) {
  WaitQueue queue(/*fair_share=*/false);
  Sequence& leader = Make();
  queue.Add(leader, nullptr);
  queue.Add(Make("", 0, 1), &leader);
  queue.Add(Make("", 0, 2), &leader);
  queue.Add(Make(), nullptr);
  EXPECT_EQ(queue.size(), 4);
  EXPECT_EQ(Drain(&queue), (std::vector<SequenceId>{1, 4}));
  EXPECT_EQ(queue.size(), 2);
  queue.ReleaseFollowers(1);
  EXPECT_EQ(Drain(&queue), (std::vector<SequenceId>{2, 3}));
}

TEST_F(WaitQueueTest, TheEndOfTheLeaderReleasesItsFollowers) {
  WaitQueue queue(/*fair_share=*/false);
  Sequence& leader = Make();
  queue.Add(leader, nullptr);
  Sequence& follower = Make("", 0, 1);
  queue.Add(follower, &leader);
  queue.End(leader);
  EXPECT_EQ(queue.First(), &follower);
}

TEST_F(WaitQueueTest, AFollowerMayEndBeforeItsLeader) {
  WaitQueue queue(/*fair_share=*/false);
  Sequence& leader = Make();
  queue.Add(leader, nullptr);
  Sequence& follower = Make("", 0, 1);
  queue.Add(follower, &leader);
  queue.End(follower);
  EXPECT_EQ(queue.size(), 1);
  queue.ReleaseFollowers(1);
  EXPECT_EQ(Drain(&queue), (std::vector<SequenceId>{1}));
}

}  // namespace
}  // namespace skipstone
