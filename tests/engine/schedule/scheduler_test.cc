#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"
#include "tests/support/fake_runner.h"

namespace skipstone {
namespace {

constexpr int kLayers = 4;
constexpr int kVocab = 50;

SequenceSpec Spec(SequenceId id, int prompt, int max_tokens, const char* skip = "none") {
  SequenceSpec spec{.id = id, .skip = *ParseSkipSet(skip, kLayers), .max_tokens = max_tokens};
  for (int i = 0; i < prompt; ++i)
    spec.prompt.push_back(static_cast<int32_t>(id * 31 + i) % kVocab);
  spec.arrival = Time(std::chrono::milliseconds(id));
  return spec;
}

SchedulerOptions Options(int max_batch_tokens, int64_t num_pages) {
  return {.max_batch_tokens = max_batch_tokens,
          .max_sequences = 64,
          .page_tokens = 4,
          .num_pages = num_pages};
}

// Results in which every row draws token 1.
std::vector<LogitsResult> Ones(const StepPlan& plan) {
  std::vector<LogitsResult> results;
  for (const SequenceChunk& chunk : plan.chunks) {
    for (int i = 0; i < chunk.logits_rows; ++i) results.push_back({.sampled = {1, 0}});
  }
  return results;
}

TEST(SchedulerTest, CutsAPromptIntoChunksOfTheBudget) {
  Scheduler scheduler(Options(8, 100));
  scheduler.Add(Spec(1, 20, 4));
  std::vector<int> rows;
  for (int i = 0; i < 3; ++i) {
    const StepPlan plan = scheduler.Next();
    ASSERT_EQ(plan.chunks.size(), 1u);
    rows.push_back(plan.num_rows);
    EXPECT_EQ(plan.chunks[0].samples, i == 2);
    EXPECT_EQ(plan.chunks[0].logits_rows, i == 2 ? 1 : 0);
    scheduler.Commit(plan, Ones(plan));
  }
  EXPECT_EQ(rows, (std::vector<int>{8, 8, 4}));
}

TEST(SchedulerTest, DecodeRowsGoBeforePrefill) {
  Scheduler scheduler(Options(8, 100));
  scheduler.Add(Spec(1, 3, 10));
  StepPlan plan = scheduler.Next();
  scheduler.Commit(plan, Ones(plan));
  scheduler.Add(Spec(2, 30, 4));
  plan = scheduler.Next();
  ASSERT_EQ(plan.chunks.size(), 2u);
  EXPECT_EQ(plan.chunks[0].sequence, 1u);
  EXPECT_EQ(plan.chunks[0].num_rows, 1);
  EXPECT_EQ(plan.chunks[1].num_rows, 7);
}

TEST(SchedulerTest, KeepsNewcomersWaitingWhileDecodeRowsFillTheBudget) {
  Scheduler scheduler(Options(2, 100));
  for (SequenceId id = 1; id <= 3; ++id) scheduler.Add(Spec(id, 1, 5));
  for (int i = 0; i < 5; ++i) {
    const StepPlan plan = scheduler.Next();
    ASSERT_EQ(plan.chunks.size(), 2u);
    EXPECT_EQ(plan.chunks[1].sequence, 2u);
    scheduler.Commit(plan, Ones(plan));
  }
  EXPECT_EQ(scheduler.Next().chunks.at(0).sequence, 3u);
}

TEST(SchedulerTest, AdmitsOnlyWhatHasPagesForItsPromptAndABlock) {
  // 4 layers, blocks of 4 tokens: a prompt of 8 needs 8 pages, and 4 for one more block.
  Scheduler scheduler(Options(64, 23));
  scheduler.Add(Spec(1, 8, 12));
  scheduler.Add(Spec(2, 8, 12));
  StepPlan plan = scheduler.Next();
  EXPECT_EQ(plan.chunks.size(), 1u);
  EXPECT_EQ(scheduler.num_waiting(), 1);
}

TEST(SchedulerTest, SkippedLayersMakeRoomForMoreSequences) {
  Scheduler scheduler(Options(64, 24));
  for (SequenceId id = 1; id <= 4; ++id) scheduler.Add(Spec(id, 8, 5, "attn:last=50%"));
  EXPECT_EQ(scheduler.Next().chunks.size(), 4u);
  Scheduler full(Options(64, 24));
  for (SequenceId id = 1; id <= 4; ++id) full.Add(Spec(id, 8, 5));
  EXPECT_EQ(full.Next().chunks.size(), 2u);
}

TEST(SchedulerTest, PreemptsYoungestWhenPagesRunOut) {
  Scheduler scheduler(Options(64, 24));
  scheduler.Add(Spec(1, 8, 13));
  scheduler.Add(Spec(2, 8, 13));
  int preempted_at = 0;
  for (int step = 1; step < 10 && preempted_at == 0; ++step) {
    const StepPlan plan = scheduler.Next();
    if (plan.preemptions > 0) {
      preempted_at = step;
      EXPECT_EQ(scheduler.Find(2)->preemptions, 1);
      EXPECT_FALSE(scheduler.Find(2)->running());
      EXPECT_EQ(plan.chunks.size(), 1u);
      EXPECT_EQ(plan.chunks[0].sequence, 1u);
    }
    scheduler.Commit(plan, Ones(plan));
  }
  EXPECT_GT(preempted_at, 0);
}

TEST(SchedulerTest, PriorityGoesBeforeArrival) {
  Scheduler scheduler(Options(64, 12));
  scheduler.Add(Spec(1, 8, 4));
  SequenceSpec urgent = Spec(2, 8, 4);
  urgent.priority = 1;
  scheduler.Add(urgent);
  const StepPlan plan = scheduler.Next();
  ASSERT_EQ(plan.chunks.size(), 1u);
  EXPECT_EQ(plan.chunks[0].sequence, 2u);
}

TEST(SchedulerTest, WaitingOutweighsPriorityInTheEnd) {
  for (const int later_s : {29, 31}) {
    Scheduler scheduler(Options(64, 12));
    SequenceSpec patient = Spec(1, 8, 4);
    SequenceSpec urgent = Spec(2, 8, 4);
    urgent.arrival = patient.arrival + std::chrono::seconds(later_s);
    urgent.priority = 1;
    scheduler.Add(patient);
    scheduler.Add(urgent);
    const StepPlan plan = scheduler.Next();
    ASSERT_EQ(plan.chunks.size(), 1u);
    EXPECT_EQ(plan.chunks[0].sequence, later_s == 29 ? 2u : 1u);
  }
}

TEST(SchedulerTest, DropsTheOverrunRowOfASequenceThatEnded) {
  Scheduler scheduler(Options(64, 100));
  SequenceSpec spec = Spec(1, 3, 10);
  spec.stop_ids = {1};
  scheduler.Add(spec);
  const StepPlan first = scheduler.Next();
  const StepPlan second = scheduler.Next();
  ASSERT_EQ(second.num_rows, 1);
  EXPECT_EQ(second.tokens, (std::vector<int32_t>{kSampledToken}));
  const auto updates = scheduler.Commit(first, Ones(first));
  ASSERT_EQ(updates.size(), 1u);
  EXPECT_EQ(updates[0].end, SequenceEnd::kStopToken);
  EXPECT_TRUE(scheduler.Commit(second, Ones(second)).empty());
  EXPECT_EQ(scheduler.pool().used(), 0);
}

TEST(SchedulerTest, PlansNothingBeyondTheLastToken) {
  Scheduler scheduler(Options(64, 100));
  scheduler.Add(Spec(1, 3, 1));
  const StepPlan first = scheduler.Next();
  EXPECT_TRUE(scheduler.Next().empty());
  EXPECT_EQ(scheduler.Commit(first, Ones(first))[0].end, SequenceEnd::kLength);
}

TEST(SchedulerTest, ScoresWithoutDrawingATokenAndWithoutTheLastRow) {
  Scheduler scheduler(Options(4, 100));
  SequenceSpec spec = Spec(1, 10, 1);
  spec.score_from = 3;
  scheduler.Add(spec);
  int logits_rows = 0;
  int rows = 0;
  SequenceEnd end = SequenceEnd::kNone;
  while (end == SequenceEnd::kNone) {
    const StepPlan plan = scheduler.Next();
    ASSERT_FALSE(plan.empty());
    EXPECT_FALSE(plan.chunks[0].samples);
    rows += plan.num_rows;
    logits_rows += plan.chunks[0].logits_rows;
    for (const SequenceUpdate& update : scheduler.Commit(plan, Ones(plan))) end = update.end;
  }
  EXPECT_EQ(end, SequenceEnd::kScored);
  EXPECT_EQ(rows, 9);
  EXPECT_EQ(logits_rows, 7);  // tokens 3..9
}

TEST(SchedulerTest, ReportsDeadlinesAndTimeLimits) {
  Scheduler scheduler(Options(64, 100));
  SequenceSpec spec = Spec(1, 3, 10);
  spec.deadline = Time(std::chrono::seconds(5));
  spec.time_limit = Time(std::chrono::seconds(3));
  scheduler.Add(spec);
  EXPECT_TRUE(scheduler.PastTimeLimit(Time(std::chrono::seconds(2))).empty());
  EXPECT_EQ(scheduler.PastTimeLimit(Time(std::chrono::seconds(3))).size(), 1u);
  EXPECT_TRUE(scheduler.PastDeadline(Time(std::chrono::seconds(4))).empty());
  EXPECT_EQ(scheduler.PastDeadline(Time(std::chrono::seconds(5))).size(), 1u);
}

TEST(SchedulerTest, ASecondPromptAdoptsTheBlocksOfTheFirst) {
  Scheduler scheduler(Options(64, 100));
  SequenceSpec spec = Spec(1, 12, 4);
  scheduler.Add(spec);
  StepPlan plan = scheduler.Next();
  scheduler.Commit(plan, Ones(plan));
  spec.id = 2;
  spec.skip = *ParseSkipSet("attn:last=50%", kLayers);
  scheduler.Add(spec);
  plan = scheduler.Next();
  ASSERT_EQ(plan.chunks.size(), 2u);
  // floor((12 - 1) / 4) blocks: the last token must run for its logits.
  EXPECT_EQ(plan.chunks[1].first_position, 8);
  EXPECT_EQ(plan.prefix_hit_tokens, 8);
  EXPECT_EQ(scheduler.Find(2)->cached_tokens, 8);
  EXPECT_EQ(plan.slot_starts.size(), 1u);
}

TEST(SchedulerTest, WantedPromptLogprobsEndTheHit) {
  Scheduler scheduler(Options(64, 100));
  SequenceSpec spec = Spec(1, 12, 4);
  scheduler.Add(spec);
  StepPlan plan = scheduler.Next();
  scheduler.Commit(plan, Ones(plan));
  spec.id = 2;
  spec.score_from = 7;  // row 6 needs logits
  scheduler.Add(spec);
  plan = scheduler.Next();
  EXPECT_EQ(plan.chunks[1].first_position, 4);
}

TEST(SchedulerTest, LaterOutputsOfARequestShareItsPromptPages) {
  Scheduler scheduler(Options(64, 100));
  for (int i = 0; i < 3; ++i) {
    SequenceSpec spec = Spec(1, 12, 4);
    spec.id = 1 + i;
    spec.output_index = i;
    scheduler.Add(spec);
  }
  StepPlan plan = scheduler.Next();
  EXPECT_EQ(plan.chunks.size(), 1u);
  scheduler.Commit(plan, Ones(plan));
  plan = scheduler.Next();
  ASSERT_EQ(plan.chunks.size(), 3u);
  EXPECT_EQ(plan.chunks[1].num_rows, 4);
  EXPECT_EQ(plan.chunks[2].num_rows, 4);
}

// ---- random traffic against a runner that reads what lies in the pages ----

struct Traffic {
  int max_batch_tokens;
  int64_t num_pages;
  int max_in_flight;
  bool removals;
  bool common_prefixes = false;
};

// Such as Rows16Pages40InFlight2Removals.
std::string NameOfTraffic(const testing::TestParamInfo<Traffic>& info) {
  const Traffic& traffic = info.param;
  return absl::StrFormat("Rows%dPages%dInFlight%d%s%s", traffic.max_batch_tokens, traffic.num_pages,
                         traffic.max_in_flight, traffic.removals ? "Removals" : "",
                         traffic.common_prefixes ? "CommonPrefixes" : "");
}

class SchedulerTrafficTest : public testing::TestWithParam<Traffic> {};

// What the sequence must produce, one token after the other.
std::vector<int32_t> Expected(const SequenceSpec& spec) {
  std::vector<int32_t> tokens = spec.prompt;
  std::vector<int32_t> output;
  while (static_cast<int>(output.size()) < spec.max_tokens) {
    const int32_t token = FakeToken(tokens, spec.skip, kVocab);
    output.push_back(token);
    tokens.push_back(token);
    if (std::find(spec.stop_ids.begin(), spec.stop_ids.end(), token) != spec.stop_ids.end()) break;
  }
  return output;
}

class Simulation {
 public:
  Simulation(const Traffic& traffic, uint32_t seed)
      : traffic_(traffic),
        random_(seed),
        scheduler_({.max_batch_tokens = traffic.max_batch_tokens,
                    .max_sequences = 8,
                    .page_tokens = 4,
                    .num_pages = traffic.num_pages}),
        runner_({.vocab = kVocab, .page_tokens = 4, .num_pages = traffic.num_pages}) {}

  void Run(int operations) {
    for (int i = 0; i < operations || scheduler_.num_running() + scheduler_.num_waiting() > 0;
         ++i) {
      if (i < operations && random_() % 3 == 0 && scheduler_.num_waiting() < 20) AddRandom();
      if (traffic_.removals && random_() % 17 == 0 && !specs_.empty()) RemoveRandom();
      ASSERT_NO_FATAL_FAILURE(Step());
      ASSERT_LT(i, operations * 50) << "the schedule does not end";
    }
    while (!in_flight_.empty()) ASSERT_NO_FATAL_FAILURE(CommitOldest());
    EXPECT_EQ(scheduler_.pool().used(), 0);
    EXPECT_EQ(scheduler_.pool().free() + scheduler_.pool().cached(), traffic_.num_pages);
    EXPECT_TRUE(specs_.empty());
  }

  int preemptions() const { return preemptions_; }
  int completed() const { return completed_; }
  int64_t shared_pages() const { return shared_pages_; }
  int64_t prefix_hits() const { return prefix_hits_; }

 private:
  void AddRandom() {
    static const char* const kSkips[] = {"none",     "attn:last=25%", "attn:last=50%",
                                         "attn:0-3", "attn:1",        "mlp:last=2"};
    SequenceSpec spec =
        Spec(next_id_++, 1 + random_() % 20, 1 + random_() % 12, kSkips[random_() % 6]);
    for (int32_t& token : spec.prompt) token = random_() % kVocab;
    if (traffic_.common_prefixes) {
      const int prefix = random_() % 3;
      for (size_t i = 0; i < std::min<size_t>(spec.prompt.size(), 14); ++i) spec.prompt[i] = prefix;
    }
    if (random_() % 2 == 0) spec.stop_ids = {3, 17};
    spec.priority = random_() % 3;
    specs_.emplace(spec.id, spec);
    scheduler_.Add(spec);
  }

  void RemoveRandom() {
    auto it = specs_.begin();
    std::advance(it, random_() % specs_.size());
    EXPECT_TRUE(scheduler_.Remove(it->first));
    outputs_.erase(it->first);
    specs_.erase(it);
  }

  void Step() {
    StepPlan plan = scheduler_.Next();
    preemptions_ += plan.preemptions;
    prefix_hits_ += plan.prefix_hit_tokens;
    EXPECT_LE(plan.num_rows, traffic_.max_batch_tokens);
    std::set<SequenceId> planned;
    for (const SequenceChunk& chunk : plan.chunks) {
      ASSERT_TRUE(planned.insert(chunk.sequence).second);
      ASSERT_GT(chunk.num_rows, 0);
      const Sequence* sequence = scheduler_.Find(chunk.sequence);
      ASSERT_EQ(sequence->pages.num_pages(), PagesFor(sequence->planned, sequence->spec.skip, 4));
    }
    ExpectPagesConserved();
    if (!plan.empty()) {
      runner_.Launch(plan);
      in_flight_.push_back(std::move(plan));
    } else {
      // With work left and nothing in flight an empty plan would be a deadlock.
      ASSERT_TRUE(!in_flight_.empty() || scheduler_.num_running() + scheduler_.num_waiting() == 0);
    }
    if (static_cast<int>(in_flight_.size()) >= traffic_.max_in_flight ||
        (!in_flight_.empty() && random_() % 4 == 0)) {
      CommitOldest();
    }
  }

  void CommitOldest() {
    const StepPlan plan = std::move(in_flight_.front());
    in_flight_.pop_front();
    for (const SequenceUpdate& update : scheduler_.Commit(plan, runner_.Collect().logits)) {
      ASSERT_TRUE(specs_.contains(update.id));
      if (update.sampled) outputs_[update.id].push_back(update.sampled->sampled.id);
      if (update.end == SequenceEnd::kNone) continue;
      EXPECT_EQ(outputs_[update.id], Expected(specs_.at(update.id))) << "sequence " << update.id;
      outputs_.erase(update.id);
      specs_.erase(update.id);
      ++completed_;
    }
  }

  // Each page that sequences hold is used, and held as often as it has owners besides the cache.
  void ExpectPagesConserved() {
    std::map<PageId, int> holders;
    for (const auto& [id, spec] : specs_) {
      const SequencePages& held = scheduler_.Find(id)->pages;
      for (int block = 0; block < held.num_blocks(); ++block) {
        for (int i = 0; i < static_cast<int>(held.layers().size()); ++i) {
          ++holders[held.page(block, i)];
        }
      }
    }
    ASSERT_EQ(static_cast<int64_t>(holders.size()), scheduler_.pool().used());
    for (const auto& [page, count] : holders) {
      ASSERT_GE(scheduler_.pool().references(page), count);
      ASSERT_LE(scheduler_.pool().references(page), count + 1);
      if (count > 1) ++shared_pages_;
    }
  }

  const Traffic traffic_;
  std::mt19937 random_;
  Scheduler scheduler_;
  FakeRunner runner_;
  std::deque<StepPlan> in_flight_;
  std::map<SequenceId, SequenceSpec> specs_;
  std::map<SequenceId, std::vector<int32_t>> outputs_;
  SequenceId next_id_ = 1;
  int preemptions_ = 0;
  int completed_ = 0;
  int64_t shared_pages_ = 0;
  int64_t prefix_hits_ = 0;
};

TEST_P(SchedulerTrafficTest, AnyScheduleGivesTheOutputsOfOneAtATime) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Simulation simulation(GetParam(), seed);
  simulation.Run(4000);
  EXPECT_GT(simulation.completed(), 100);
  if (GetParam().num_pages < 100) {
    EXPECT_GT(simulation.preemptions(), 0);
  }
  if (GetParam().common_prefixes) {
    EXPECT_GT(simulation.prefix_hits(), 1000);
    EXPECT_GT(simulation.shared_pages(), 100);
  }
}

INSTANTIATE_TEST_SUITE_P(All, SchedulerTrafficTest,
                         testing::Values(Traffic{512, 1000, 1, false}, Traffic{512, 1000, 2, true},
                                         Traffic{7, 1000, 2, false}, Traffic{16, 40, 1, false},
                                         Traffic{16, 40, 2, true}, Traffic{3, 32, 2, true},
                                         Traffic{64, 32, 2, false}),
                         NameOfTraffic);

}  // namespace
}  // namespace skipstone
