#include "tools/sim/replica.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"
#include "tests/tools/sim/sim_fixture.h"

namespace skipstone {
namespace {

SequenceSpec Spec(SequenceId id, int prompt, int max_tokens) {
  return {.id = id,
          .prompt = std::vector<int32_t>(prompt, static_cast<int32_t>(id)),
          .skip = SkipSet(kSimLayers),
          .max_tokens = max_tokens};
}

void Launch(Replica& replica, Time now, std::vector<SequenceId>* started = nullptr) {
  replica.Launch(now, [&](const Sequence& sequence) {
    if (started) started->push_back(sequence.spec.id);
  });
}

TEST(ReplicaTest, RunsOneStepAfterTheOther) {
  Replica replica(Fleet(8, 4, 100).scheduler, ConstantCost(0.01), 1);
  EXPECT_EQ(replica.next_end(), kNever);
  replica.Add(Spec(1, 12, 2));
  std::vector<SequenceId> started;
  Launch(replica, AtMs(3), &started);
  EXPECT_EQ(started, (std::vector<SequenceId>{1}));
  EXPECT_EQ(replica.next_end(), AtMs(13));
  Launch(replica, AtMs(5), &started);  // nothing: a step is under way
  EXPECT_EQ(replica.next_end(), AtMs(13));
  EXPECT_TRUE(replica.EndStep().empty());  // 8 rows of the prompt, no token yet
  Launch(replica, AtMs(13), &started);
  EXPECT_EQ(replica.next_end(), AtMs(23));
  EXPECT_EQ(replica.EndStep().size(), 1u);
  Launch(replica, AtMs(23), &started);
  const auto updates = replica.EndStep();
  ASSERT_EQ(updates.size(), 1u);
  EXPECT_EQ(updates[0].end, SequenceEnd::kLength);
  EXPECT_EQ(started.size(), 1u);
  Launch(replica, AtMs(33));
  EXPECT_EQ(replica.next_end(), kNever);
  EXPECT_EQ(replica.requests(), 0);
  EXPECT_EQ(replica.pool().used(), 0);
  EXPECT_EQ(replica.steps(), 3);
  EXPECT_EQ(replica.rows(), 13);
  EXPECT_EQ(replica.busy(), std::chrono::milliseconds(30));
}

TEST(ReplicaTest, PlansAStepWhileOneRuns) {
  Replica replica(Fleet(8, 4, 100).scheduler, ConstantCost(0.01), 2);
  replica.Add(Spec(1, 12, 3));
  Launch(replica, AtMs(0));
  EXPECT_EQ(replica.next_end(), AtMs(10));
  replica.EndStep();
  // The second step was planned at 0 already and runs until 20; the third until 30.
  Launch(replica, AtMs(10));
  EXPECT_EQ(replica.next_end(), AtMs(20));
  EXPECT_EQ(replica.EndStep().size(), 1u);
  EXPECT_EQ(replica.next_end(), AtMs(30));
}

TEST(ReplicaTest, ASkippingSequenceHitsThePagesOfAFullOne) {
  Replica replica(Fleet(64, 4, 100).scheduler, ConstantCost(0.01), 1);
  int cached = -1;
  for (const char* skip : {"none", "attn:last=50%"}) {
    SequenceSpec spec = Spec(1, 13, 1);
    spec.skip = *ParseSkipSet(skip, kSimLayers);
    replica.Add(std::move(spec));
    replica.Launch(AtMs(0), [&](const Sequence& sequence) { cached = sequence.cached_tokens; });
    EXPECT_EQ(replica.EndStep().size(), 1u);
  }
  EXPECT_EQ(cached, 12);
}

TEST(ReplicaTest, SamplesDifferentTokensForDifferentSequences) {
  Replica replica(Fleet(8, 4, 100).scheduler, ConstantCost(0.01), 1);
  replica.Add(Spec(1, 2, 2));
  replica.Add(Spec(2, 2, 2));
  std::vector<int32_t> tokens;
  for (int step = 0; step < 2; ++step) {
    Launch(replica, AtMs(10 * step));
    for (const SequenceUpdate& update : replica.EndStep()) {
      tokens.push_back(update.sampled->sampled.id);
    }
  }
  ASSERT_EQ(tokens.size(), 4u);
  std::sort(tokens.begin(), tokens.end());
  EXPECT_EQ(std::unique(tokens.begin(), tokens.end()), tokens.end());
  EXPECT_GE(tokens[0], 0);
}

}  // namespace
}  // namespace skipstone
