// Any schedule on the real CPU backend against one sequence at a time: the same tokens and the same
// log-probabilities, to the bit. The scheduler is driven directly, so that its schedule is the
// test's: small budgets, a pool that forces preemption, plans that are launched before the last
// one is committed.
#include <algorithm>
#include <bit>
#include <deque>
#include <map>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/llama_runner.h"
#include "engine/schedule/scheduler.h"
#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"
#include "tests/support/seeded_maps.h"

namespace skipstone {
namespace {

constexpr int kLayers = 4;
constexpr int kVocab = 128;
constexpr int kPageTokens = 4;
constexpr char kModel[] =
    "synthetic:layers=4,hidden=64,heads=4,kv_heads=2,ffn=96,vocab=128,context=256,type=f32";

struct Schedule {
  std::string name;
  int max_batch_tokens = 64;
  int64_t num_pages = 4000;
  bool prefix_cache = true;
  int in_flight = 1;
  int threads = 1;
  bool preempts = false;
};

// For test names.
void PrintTo(const Schedule& schedule, std::ostream* out) { *out << schedule.name; }

// An id and the bits of its log-probability; those of the alternatives follow.
using TokenBits = std::vector<std::pair<int32_t, uint32_t>>;

TokenBits BitsOf(const TokenLogprob& token, const LogitsResult& result) {
  TokenBits bits{{token.id, std::bit_cast<uint32_t>(token.logprob)}};
  for (const TokenLogprob& top : result.top) {
    bits.emplace_back(top.id, std::bit_cast<uint32_t>(top.logprob));
  }
  return bits;
}

struct Result {
  std::vector<TokenBits> prompt;
  std::vector<TokenBits> output;
  std::vector<AppliedRange> applied;
  int preemptions = 0;

  std::vector<int32_t> Ids() const {
    std::vector<int32_t> ids;
    for (const TokenBits& token : output) ids.push_back(token[0].first);
    return ids;
  }
};

// Among them plain, windowed and compensated ones: suffix sets with different maps, others, whose
// maps lie below kept layers.
const std::vector<std::string>& Sets() {
  static const std::vector<std::string> sets = {"none",
                                                "attn:last=25%",
                                                "attn:last=50%",
                                                "attn:0-3",
                                                "attn:1+mlp:2",
                                                "block:last=1",
                                                "win:2-3/16",
                                                "attn:3+win:1/24,2/16",
                                                "win:0-3/16",
                                                "attn:last=25%@diag",
                                                "attn:last=50%@bias",
                                                "attn:last=50%@rank=3,full",
                                                "attn:0+mlp:1@full,diag",
                                                "attn:1-2+win:3/16@rank=1,bias"};
  return sets;
}

// A scheduler and a runner of its own.
class Execution {
 public:
  explicit Execution(const Schedule& schedule) : schedule_(schedule) {
    auto model = LoadModel(kModel, {.backend = "cpu", .threads = schedule.threads});
    EXPECT_TRUE(model.ok()) << model.status();
    maps_.AddTo(&*model, Sets());
    const ModelWork work = ModelWorkOf(*model);
    auto runner = MakeLlamaRunner(
        *std::move(model), {.limits = {.max_rows = kMaxRowsPerWork * schedule.max_batch_tokens,
                                       .max_logits_rows = schedule.max_batch_tokens,
                                       .max_slots = kSlots,
                                       .page_tokens = kPageTokens,
                                       .num_pages = schedule.num_pages}});
    EXPECT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
    scheduler_ =
        std::make_unique<Scheduler>(SchedulerOptions{.max_batch_tokens = schedule.max_batch_tokens,
                                                     .max_sequences = kSlots,
                                                     .page_tokens = kPageTokens,
                                                     .num_pages = schedule.num_pages,
                                                     .prefix_cache = schedule.prefix_cache,
                                                     .work = work});
  }

  // Two sequences come with every step.
  std::map<SequenceId, Result> Run(const std::vector<SequenceSpec>& specs) {
    size_t next = 0;
    while (next < specs.size() || scheduler_->num_running() + scheduler_->num_waiting() > 0) {
      for (int i = 0; i < 2 && next < specs.size(); ++i) scheduler_->Add(specs[next++]);
      Launch();
      if (launched_nothing_ && in_flight_.empty()) {
        ADD_FAILURE() << "the plan is empty, and nothing is in flight";
        break;
      }
      if (std::ssize(in_flight_) >= schedule_.in_flight || launched_nothing_) Collect();
    }
    while (!in_flight_.empty()) Collect();
    EXPECT_EQ(scheduler_->pool().used(), 0);
    return std::move(results_);
  }

  int preemptions() const { return preemptions_; }
  int shed_layers() const { return shed_layers_; }
  int64_t prefix_hits() const { return prefix_hits_; }
  // Pages in use, step by step.
  const std::vector<int64_t>& pages() const { return pages_; }

 private:
  static constexpr int kSlots = 8;

  void Launch() {
    StepPlan plan = scheduler_->Next();
    preemptions_ += plan.preemptions;
    shed_layers_ += plan.shed_layers;
    prefix_hits_ += plan.prefix_hit_tokens;
    pages_.push_back(scheduler_->pool().used());
    launched_nothing_ = plan.empty();
    if (plan.empty()) return;
    runner_->Launch(plan);
    in_flight_.push_back(std::move(plan));
  }

  void Collect() {
    const StepPlan plan = std::move(in_flight_.front());
    in_flight_.pop_front();
    const StepResults results = runner_->Collect();
    for (const SequenceUpdate& update : scheduler_->Commit(plan, results.logits)) {
      Result& result = results_[update.id];
      for (const LogitsResult& prompt : update.prompt) {
        result.prompt.push_back(BitsOf(prompt.target, prompt));
      }
      if (update.sampled) result.output.push_back(BitsOf(update.sampled->sampled, *update.sampled));
      result.applied.insert(result.applied.end(), update.applied.begin(), update.applied.end());
      result.preemptions = update.preemptions;
    }
  }

  const Schedule schedule_;
  SeededMaps maps_;
  std::unique_ptr<ModelRunner> runner_;
  std::unique_ptr<Scheduler> scheduler_;
  std::deque<StepPlan> in_flight_;
  bool launched_nothing_ = false;
  std::map<SequenceId, Result> results_;
  int preemptions_ = 0;
  int shed_layers_ = 0;
  int64_t prefix_hits_ = 0;
  std::vector<int64_t> pages_;
};

Result Alone(const SequenceSpec& spec) {
  return Execution({.prefix_cache = false}).Run({spec})[spec.id];
}

SamplingParams RandomSampling(std::mt19937& random) {
  SamplingParams sampling{.temperature = random() % 3 == 0 ? 0.0f : 0.9f, .seed = random()};
  if (random() % 2 == 0) sampling.top_p = 0.9f;
  if (random() % 2 == 0) sampling.top_k = 20;
  if (random() % 3 == 0) sampling.repetition_penalty = 1.2f;
  if (random() % 3 == 0) sampling.frequency_penalty = 0.3f;
  return sampling;
}

// Requests of 1 to 3 outputs; half begin with the same tokens, under whatever skip set.
std::vector<SequenceSpec> RandomSpecs(int requests, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<SequenceSpec> specs;
  for (int i = 0; i < requests; ++i) {
    SequenceSpec spec{.skip = SeededSet(Sets()[i % Sets().size()], kLayers)};
    spec.prompt.resize(2 + random() % 38);
    for (int32_t& token : spec.prompt) token = static_cast<int32_t>(random() % kVocab);
    if (i % 2 == 0) {
      for (size_t t = 0; t < std::min<size_t>(22, spec.prompt.size()); ++t) spec.prompt[t] = t;
    }
    spec.sampling = RandomSampling(random);
    spec.max_tokens = 1 + random() % 24;
    spec.logprobs = 3;
    if (i % 5 == 1) spec.prompt_logprobs = 1;
    if (i % 7 == 3) spec.score_from = 1 + random() % (spec.prompt.size() - 1);
    spec.priority = random() % 2;
    const int outputs = spec.scores() ? 1 : 1 + random() % 3;
    spec.group = std::make_shared<SequenceGroup>();
    for (spec.output_index = 0; spec.output_index < outputs; ++spec.output_index) {
      spec.id = specs.size() + 1;
      spec.arrival = Time(std::chrono::seconds(i));
      specs.push_back(spec);
    }
  }
  return specs;
}

class DifferentialTest : public testing::TestWithParam<Schedule> {
 protected:
  static const std::vector<SequenceSpec>& Specs() {
    static const auto* specs = new std::vector<SequenceSpec>(RandomSpecs(60, 11));
    return *specs;
  }
  static const std::vector<Result>& OneAtATime() {
    static const auto* results = [] {
      auto* alone = new std::vector<Result>;
      for (const SequenceSpec& spec : Specs()) alone->push_back(Alone(spec));
      return alone;
    }();
    return *results;
  }
};

TEST_P(DifferentialTest, AnyScheduleGivesTheBitsOfOneAtATime) {
  Execution execution(GetParam());
  const std::map<SequenceId, Result> results = execution.Run(Specs());
  for (size_t i = 0; i < Specs().size(); ++i) {
    const SequenceSpec& spec = Specs()[i];
    const Result& result = results.at(spec.id);
    EXPECT_EQ(result.prompt, OneAtATime()[i].prompt) << "sequence " << spec.id;
    EXPECT_EQ(result.output, OneAtATime()[i].output) << "sequence " << spec.id;
    EXPECT_EQ(std::ssize(result.output), spec.scores() ? 0 : spec.max_tokens);
  }
  EXPECT_EQ(execution.preemptions() > 0, GetParam().preempts);
  EXPECT_EQ(execution.prefix_hits() > 0, GetParam().prefix_cache);
}

// The longest sequence holds 64 pages.
INSTANTIATE_TEST_SUITE_P(
    Schedules, DifferentialTest,
    testing::Values(
        Schedule{.name = "LargeBudget", .max_batch_tokens = 512},
        Schedule{.name = "SmallestBudget", .max_batch_tokens = 3, .num_pages = 300},
        Schedule{.name = "TwoInFlight", .max_batch_tokens = 32, .in_flight = 2},
        Schedule{.name = "SmallPool", .max_batch_tokens = 32, .num_pages = 72, .preempts = true},
        Schedule{.name = "SmallPoolTwoInFlightTwoThreads",
                 .max_batch_tokens = 11,
                 .num_pages = 72,
                 .in_flight = 2,
                 .threads = 2,
                 .preempts = true},
        Schedule{.name = "SmallPoolNoPrefixCache",
                 .max_batch_tokens = 17,
                 .num_pages = 72,
                 .prefix_cache = false,
                 .in_flight = 2,
                 .preempts = true}),
    [](const testing::TestParamInfo<Schedule>& info) { return info.param.name; });

// Maps take no pages, and sets whose maps are equal below a layer share what lies there.
TEST(DifferentialTest, MapsLeavePagesAndPrefixHitsAsTheyAre) {
  for (const int64_t num_pages : {4000, 72}) {
    std::vector<SequenceSpec> specs = RandomSpecs(60, 11);
    Execution compensated({.max_batch_tokens = 32, .num_pages = num_pages, .in_flight = 2});
    compensated.Run(specs);
    for (SequenceSpec& spec : specs) spec.skip = spec.skip.WithoutMaps();
    Execution plain({.max_batch_tokens = 32, .num_pages = num_pages, .in_flight = 2});
    plain.Run(specs);
    EXPECT_GT(compensated.prefix_hits(), 0);
    EXPECT_EQ(compensated.prefix_hits(), plain.prefix_hits());
    EXPECT_EQ(compensated.preemptions(), plain.preemptions());
    EXPECT_EQ(compensated.pages(), plain.pages());
  }
}

// Two sequences that fit the pool one at a time.
std::vector<SequenceSpec> Rivals(float temperature) {
  std::vector<SequenceSpec> specs;
  for (SequenceId id = 1; id <= 2; ++id) {
    SequenceSpec spec{.id = id, .skip = SkipSet(kLayers), .max_tokens = 40, .logprobs = 3};
    for (int t = 0; t < 12; ++t) spec.prompt.push_back(static_cast<int32_t>(id * 50 + t) % kVocab);
    spec.sampling = {.temperature = temperature, .seed = id};
    spec.arrival = Time(std::chrono::seconds(id));
    specs.push_back(spec);
  }
  return specs;
}

TEST(DifferentialTest, APreemptedSequenceResumesToTheBit) {
  for (const int in_flight : {1, 2}) {
    Execution execution(
        {.num_pages = 56, .prefix_cache = false, .in_flight = in_flight});  // 13 blocks each
    const std::vector<SequenceSpec> specs = Rivals(0.8f);
    const auto results = execution.Run(specs);
    EXPECT_EQ(results.at(1).preemptions, 0);
    EXPECT_GE(results.at(2).preemptions, 1);
    for (const SequenceSpec& spec : specs) {
      EXPECT_EQ(results.at(spec.id).output, Alone(spec).output) << "sequence " << spec.id;
    }
  }
}

// Tokens of each range are those of a sequence that was given all tokens before them as its prompt,
// and ran under the range's set from its first row on.
void ExpectRangesLikeTeacherForced(const SequenceSpec& spec, const Result& result) {
  std::vector<AppliedRange> ranges{{0, spec.skip}};
  ranges.insert(ranges.end(), result.applied.begin(), result.applied.end());
  const std::vector<int32_t> ids = result.Ids();
  for (size_t r = 0; r < ranges.size(); ++r) {
    const int begin = ranges[r].from_token;
    const int end = r + 1 < ranges.size() ? ranges[r + 1].from_token : spec.max_tokens;
    if (begin == end) continue;
    SequenceSpec forced = spec;
    forced.ceiling.reset();
    forced.skip = ranges[r].skip;
    forced.prompt.insert(forced.prompt.end(), ids.begin(), ids.begin() + begin);
    forced.max_tokens = end - begin;
    const std::vector<TokenBits> tokens(result.output.begin() + begin, result.output.begin() + end);
    EXPECT_EQ(tokens, Alone(forced).output)
        << "sequence " << spec.id << " from token " << begin << ", " << forced.skip.ToString();
  }
}

TEST(DifferentialTest, AfterAShedTokensAreThoseOfTheNewSet) {
  for (const auto& [in_flight, temperature] : {std::pair(1, 0.0f), {2, 0.0f}, {2, 0.8f}}) {
    Execution execution({.num_pages = 56, .in_flight = in_flight});
    std::vector<SequenceSpec> specs = Rivals(temperature);
    specs[0].ceiling = *ParseSkipSet("attn:3", kLayers);
    specs[1].ceiling = *ParseSkipSet("attn:last=75%", kLayers);
    const auto results = execution.Run(specs);
    EXPECT_EQ(execution.preemptions(), 0);
    EXPECT_GT(execution.shed_layers(), 1);
    ASSERT_FALSE(results.at(2).applied.empty());
    EXPECT_GT(results.at(2).applied.front().from_token, 0) << "in mid-decode";
    for (const SequenceSpec& spec : specs) {
      ASSERT_EQ(std::ssize(results.at(spec.id).output), spec.max_tokens);
      ExpectRangesLikeTeacherForced(spec, results.at(spec.id));
    }
  }
}

// From a compensated set to a larger one of the family, whose maps differ, and to the identity.
TEST(DifferentialTest, AfterAShedTheCeilingsMapsAreRun) {
  const std::pair<const char*, const char*> ways[] = {
      {"attn:last=25%@diag", "attn:last=50%@rank=3,full"},
      {"none", "attn:last=50%@rank=3,full"},
      {"attn:last=50%@bias", "attn:0-3"},
  };
  for (const auto& [from, to] : ways) {
    SCOPED_TRACE(testing::Message() << from << " to " << to);
    const SkipSet skip = SeededSet(from, kLayers), ceiling = SeededSet(to, kLayers);
    const int64_t pages = 14 * skip.KeptAttention();
    Execution execution({.num_pages = pages, .in_flight = 2});
    std::vector<SequenceSpec> specs = Rivals(0.8f);
    for (SequenceSpec& spec : specs) {
      spec.skip = skip;
      spec.ceiling = ceiling;
    }
    const auto results = execution.Run(specs);
    EXPECT_GT(execution.shed_layers(), 0);
    for (const SequenceSpec& spec : specs) {
      const Result& result = results.at(spec.id);
      ExpectRangesLikeTeacherForced(spec, result);
      for (const AppliedRange& range : result.applied) {
        for (int layer = range.skip.LastKeptAttention() + 1; layer < kLayers; ++layer) {
          EXPECT_EQ(range.skip.AttentionMap(layer), ceiling.AttentionMap(layer)) << layer;
        }
      }
    }
  }
}

}  // namespace
}  // namespace skipstone
