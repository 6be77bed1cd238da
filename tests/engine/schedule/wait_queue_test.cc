#include "engine/schedule/wait_queue.h"

#include <map>
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

TEST_F(WaitQueueTest, OnesThatLeftLeaveNoCreditToWhoComesNext) {
  WaitQueue queue(/*fair_share=*/true);
  Sequence& goes = Make("goes");
  queue.Add(goes, nullptr);
  queue.Start(goes);
  queue.Serve(goes, 1000);
  Sequence& more = Make("goes");
  queue.Add(more, nullptr);
  queue.Start(more);
  queue.End(goes);
  queue.End(more);
  // Nobody is here. A new tenant must not be 1000 tokens ahead of the one that comes back.
  Sequence& fresh = Make("new");
  queue.Add(fresh, nullptr);
  queue.Start(fresh);
  queue.Serve(fresh, 10);
  queue.Add(Make("new"), nullptr);
  queue.Add(Make("goes"), nullptr);
  queue.Serve(*queue.First(), 1);
  EXPECT_EQ(queue.First()->spec.tenant, "goes") << "1010 tokens against 1011";
}

// Serves one after the other what goes first: 3 tokens at its start and 7 afterwards.
class MadeUpTenantsTest : public WaitQueueTest {
 protected:
  std::string ServeOne() {
    Sequence& first = *queue_.First();
    queue_.Start(first);
    queue_.Serve(first, 3);
    queue_.Serve(first, 7);
    const std::string tenant = first.spec.tenant;
    queue_.End(first);
    return tenant;
  }
  void AddMadeUp() { queue_.Add(Make("made up " + std::to_string(next_)), nullptr); }

  WaitQueue queue_{/*fair_share=*/true};
};

TEST_F(MadeUpTenantsTest, HaveOneShareBetweenThem) {
  constexpr int kStarts = 300;
  for (const char* tenant : {"a", "b"}) queue_.Add(Make(tenant), nullptr);
  for (int i = 0; i < 5; ++i) AddMadeUp();
  std::map<std::string, int> starts;
  for (int i = 0; i < kStarts; ++i) {
    const std::string tenant = ServeOne();
    if (tenant == "a" || tenant == "b") {
      ++starts[tenant];
      queue_.Add(Make(tenant), nullptr);
    } else {
      ++starts["made up"];
      AddMadeUp();
    }
  }
  for (const char* tenant : {"a", "b", "made up"}) {
    EXPECT_NEAR(starts[tenant], kStarts / 3, 3) << tenant;
  }
}

TEST_F(MadeUpTenantsTest, DoNotOvertakeOneThatWaits) {
  for (int i = 0; i < 5; ++i) queue_.Add(Make("a"), nullptr);
  EXPECT_EQ(ServeOne(), "a");
  for (int i = 0; i < 20; ++i) AddMadeUp();
  int made_up = 0;
  for (int left = 4; left > 0;) ServeOne() == "a" ? --left : ++made_up;
  EXPECT_LE(made_up, 5) << "they take turns";
}

TEST_F(MadeUpTenantsTest, WaitForTheirShareNoLongerThanALowerClass) {
  Sequence& early = Make("a");
  queue_.Add(early, nullptr);
  queue_.Start(early);
  queue_.Serve(early, 1000);  // a was new, so that is the newcomers' share, too
  queue_.Add(Make("a"), nullptr);
  AddMadeUp();
  queue_.Serve(*queue_.First(), 1000);
  AddMadeUp();  // their share is used up
  for (int second = 1; second <= 30; ++second) {
    queue_.Add(Make("a"), nullptr);
    EXPECT_EQ(ServeOne(), "a") << second;
  }
  next_ += 2;
  queue_.Add(Make("a"), nullptr);
  EXPECT_EQ(ServeOne(), "a") << "one is left that came earlier";
  EXPECT_NE(ServeOne(), "a") << "it came 33 s earlier";
}

TEST_F(MadeUpTenantsTest, AreNotKnownBecauseTheyGaveUp) {
  Sequence& known = Make("a");
  queue_.Add(known, nullptr);
  queue_.Start(known);
  queue_.Serve(known, 10);
  queue_.Add(Make("a"), nullptr);
  for (int i = 0; i < 3; ++i) {
    Sequence& waits = Make("x");
    queue_.Add(waits, nullptr);
    queue_.End(waits);
  }
  queue_.Add(Make("y"), nullptr);
  queue_.Add(Make("x"), nullptr);
  queue_.Add(Make("a"), nullptr);
  queue_.Serve(*queue_.First(), 100);
  EXPECT_EQ(queue_.First()->spec.tenant, "a") << "x and y share what was served to y";
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
  queue.ReleaseFollowers(leader);
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
  queue.ReleaseFollowers(leader);
  EXPECT_EQ(Drain(&queue), (std::vector<SequenceId>{1}));
}

}  // namespace
}  // namespace skipstone
