// Random traffic: whatever comes in whatever order, all that traffic_simulation checks holds. A
// failure prints its seed and the fewest operations that still fail.
//
//   SKIPSTONE_TRAFFIC_SEED=N     repeats a run
//   SKIPSTONE_TRAFFIC_SCALE=10   ten times the operations (the soak test)
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/schedule/random_traffic.h"
#include "tests/engine/schedule/shrink.h"
#include "tests/engine/schedule/traffic_simulation.h"

namespace skipstone {
namespace {

constexpr int kLists = 20;
constexpr int kListOperations = 3000;

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atoi(text) : otherwise;
}

using ExtraCheck = std::function<Failure(const TrafficSimulation&)>;

Failure RunOnce(const TrafficSetting& setting, std::span<const Operation> operations,
                const ExtraCheck& check, TrafficCounts* counts) {
  TrafficSimulation simulation(setting);
  simulation.extra_check = check;
  Failure failure = simulation.Run(operations);
  *counts = simulation.counts();
  return failure;
}

std::vector<Operation> ShrinkTraffic(const TrafficSetting& setting,
                                     const std::vector<Operation>& operations,
                                     const ExtraCheck& check) {
  TrafficCounts counts;
  return Shrink<Operation>(operations, [&](std::span<const Operation> cut) {
    return RunOnce(setting, cut, check, &counts).has_value();
  });
}

void Accumulate(const TrafficCounts& counts, TrafficCounts* sum) {
  sum->operations += counts.operations;
  sum->added += counts.added;
  sum->completed += counts.completed;
  sum->preemptions += counts.preemptions;
  sum->shed_layers += counts.shed_layers;
  sum->browned_out += counts.browned_out;
  sum->expired += counts.expired;
  sum->unreachable += counts.unreachable;
  sum->prefix_hits += counts.prefix_hits;
  sum->shared_pages += counts.shared_pages;
}

class SchedulerPropertyTest : public testing::TestWithParam<TrafficSetting> {
 protected:
  // The traffic brought about what its setting is there for.
  static void ExpectCovered(const TrafficSetting& setting, const TrafficCounts& counts) {
    EXPECT_GE(counts.operations, kLists * kListOperations);
    EXPECT_GT(counts.completed, 100);
    const bool short_of_pages = setting.num_pages < (setting.windows ? 200 : 100);
    if (short_of_pages) {
      EXPECT_GT(counts.preemptions, 0);
    }
    if (setting.ceilings && short_of_pages) {
      EXPECT_GT(counts.shed_layers, 0);
    }
    if (setting.common_prefixes && setting.prefix_cache) {
      EXPECT_GT(counts.prefix_hits, 500);
      EXPECT_GT(counts.shared_pages, 100);
    }
    if (setting.deadlines) {
      EXPECT_GT(counts.expired, 0);
      EXPECT_GT(counts.unreachable, 0);
    }
    if (setting.brownout_waiting < 100) {
      EXPECT_GT(counts.browned_out, 0);
    }
  }
};

TEST_P(SchedulerPropertyTest, HoldsUnderRandomTraffic) {
  const TrafficSetting& setting = GetParam();
  const int scale = FromEnvironment("SKIPSTONE_TRAFFIC_SCALE", 1);
  const int first_seed = FromEnvironment("SKIPSTONE_TRAFFIC_SEED",
                                         static_cast<int>(std::random_device{}() % 1'000'000));
  TrafficCounts sum;
  for (int i = 0; i < kLists * scale; ++i) {
    const int seed = first_seed + i;
    // At once, in case the scheduler aborts.
    std::printf("%s: seed %d\n", setting.name.c_str(), seed);
    std::fflush(stdout);
    const auto operations = RandomOperations(setting, seed, kListOperations);
    TrafficCounts counts;
    if (const Failure failure = RunOnce(setting, operations, nullptr, &counts)) {
      const auto cut = ShrinkTraffic(setting, operations, nullptr);
      const Failure shrunk = RunOnce(setting, cut, nullptr, &counts);
      FAIL() << "seed " << seed << ": " << *failure << "\nof " << cut.size()
             << " operations: " << shrunk.value_or("it no longer fails") << "\n"
             << Describe(setting, cut);
    }
    Accumulate(counts, &sum);
  }
  ExpectCovered(setting, sum);
}

std::vector<TrafficSetting> Settings() {
  return {
      {.name = "AmplePool", .max_batch_tokens = 512},
      {.name = "AmplePoolTwoInFlight",
       .max_batch_tokens = 512,
       .max_in_flight = 2,
       .removals = true},
      {.name = "SmallBudget", .max_batch_tokens = 7, .max_in_flight = 2, .prefill_limits = true},
      {.name = "SmallPool", .num_pages = 40, .prompt_results = true},
      {.name = "SmallPoolRemovals", .num_pages = 40, .max_in_flight = 2, .removals = true},
      {.name = "TinyEverything",
       .max_batch_tokens = 3,
       .num_pages = 32,
       .max_in_flight = 2,
       .removals = true},
      {.name = "Prefixes",
       .max_batch_tokens = 64,
       .num_pages = 300,
       .common_prefixes = true,
       .prompt_results = true},
      {.name = "PrefixesSmallPool",
       .max_batch_tokens = 5,
       .num_pages = 36,
       .max_in_flight = 2,
       .removals = true,
       .common_prefixes = true,
       .most_outputs = 4},
      {.name = "NoPrefixCache",
       .num_pages = 36,
       .max_in_flight = 2,
       .prefix_cache = false,
       .common_prefixes = true,
       .most_outputs = 3},
      {.name = "Shedding", .num_pages = 34, .ceilings = true},
      {.name = "SheddingTwoInFlight",
       .max_batch_tokens = 9,
       .num_pages = 34,
       .max_in_flight = 2,
       .removals = true,
       .common_prefixes = true,
       .ceilings = true,
       .prefill_limits = true,
       .prompt_results = true,
       .most_outputs = 3,
       .brownout_waiting = 8},
      {.name = "FairShare",
       .num_pages = 60,
       .fair_share = true,
       .removals = true,
       .common_prefixes = true,
       .most_outputs = 2},
      {.name = "Deadlines",
       .max_batch_tokens = 8,
       .num_pages = 60,
       .max_in_flight = 2,
       .common_prefixes = true,
       .deadlines = true},
      {.name = "Windows",
       .max_batch_tokens = 40,
       .num_pages = 2000,
       .common_prefixes = true,
       .prompt_results = true,
       .windows = true,
       .most_outputs = 2},
      {.name = "WindowsSmallPool",
       .max_batch_tokens = 30,
       .num_pages = 130,
       .max_in_flight = 2,
       .removals = true,
       .common_prefixes = true,
       .windows = true},
      {.name = "WindowsNoPrefixCache",
       .max_batch_tokens = 9,
       .num_pages = 130,
       .max_in_flight = 2,
       .prefix_cache = false,
       .prefill_limits = true,
       .windows = true,
       .most_outputs = 2},
      {.name = "WindowsShedding",
       .max_batch_tokens = 64,
       .num_pages = 130,
       .max_in_flight = 2,
       .removals = true,
       .common_prefixes = true,
       .ceilings = true,
       .deadlines = true,
       .prompt_results = true,
       .windows = true,
       .most_outputs = 3,
       .brownout_waiting = 8},
      {.name = "Maps",
       .max_batch_tokens = 64,
       .num_pages = 400,
       .common_prefixes = true,
       .prompt_results = true,
       .maps = true,
       .most_outputs = 2},
      {.name = "MapsShedding",
       .max_batch_tokens = 9,
       .num_pages = 34,
       .max_in_flight = 2,
       .removals = true,
       .common_prefixes = true,
       .ceilings = true,
       .maps = true,
       .most_outputs = 3,
       .brownout_waiting = 8},
      {.name = "MapsAndWindowsShedding",
       .max_batch_tokens = 40,
       .num_pages = 130,
       .max_in_flight = 2,
       .removals = true,
       .common_prefixes = true,
       .ceilings = true,
       .prompt_results = true,
       .windows = true,
       .maps = true,
       .most_outputs = 2},
      {.name = "All",
       .max_batch_tokens = 6,
       .num_pages = 44,
       .max_in_flight = 2,
       .fair_share = true,
       .removals = true,
       .common_prefixes = true,
       .ceilings = true,
       .deadlines = true,
       .prefill_limits = true,
       .prompt_results = true,
       .most_outputs = 4,
       .brownout_waiting = 8},
  };
}

INSTANTIATE_TEST_SUITE_P(Traffic, SchedulerPropertyTest, testing::ValuesIn(Settings()),
                         [](const testing::TestParamInfo<TrafficSetting>& info) {
                           return info.param.name;
                         });

TEST(ShrinkTest, LeavesTheOperationsThatAWrongCheckComplainsAbout) {
  const TrafficSetting setting{.name = "Shrink"};
  const ExtraCheck third = [](const TrafficSimulation& simulation) -> Failure {
    if (simulation.counts().added < 3) return std::nullopt;
    return "a third sequence";
  };
  const auto cut = ShrinkTraffic(setting, RandomOperations(setting, 7, 1000), third);
  ASSERT_EQ(cut.size(), 3u) << Describe(setting, cut);
  for (const Operation& operation : cut) EXPECT_EQ(operation.kind, Operation::Kind::kAdd);
}

TEST(ShrinkTest, FindsTheFewOperationsOfAPreemption) {
  const TrafficSetting setting{.name = "Shrink", .num_pages = 40};
  const ExtraCheck preemption = [](const TrafficSimulation& simulation) -> Failure {
    if (simulation.counts().preemptions == 0) return std::nullopt;
    return "a preemption";
  };
  const auto operations = RandomOperations(setting, 7, 1000);
  const auto cut = ShrinkTraffic(setting, operations, preemption);
  TrafficCounts counts;
  EXPECT_TRUE(RunOnce(setting, cut, preemption, &counts).has_value());
  EXPECT_LE(cut.size(), 20u) << Describe(setting, cut);
  for (size_t i = 0; i < cut.size(); ++i) {
    std::vector<Operation> fewer = cut;
    fewer.erase(fewer.begin() + i);
    EXPECT_FALSE(RunOnce(setting, fewer, preemption, &counts).has_value()) << "without " << i;
  }
}

// Two tenants whose queues never empty, one with long requests and one with short ones.
class FairTraffic {
 public:
  explicit FairTraffic(int max_sequences)
      : scheduler_({.max_batch_tokens = 16,
                    .max_sequences = max_sequences,
                    .page_tokens = 4,
                    .num_pages = 1000,
                    .fair_share = true}) {}

  // The greatest difference of the tokens served, prompts and outputs.
  int64_t GreatestDifference(int steps) {
    int64_t greatest = 0;
    for (int i = 0; i < steps; ++i) {
      for (const char* tenant : {"long", "short"}) {
        while (waiting_[tenant] < 10) Add(tenant);  // more than start in one step
      }
      const StepPlan plan = scheduler_.Next();
      for (const SequenceId id : plan.started) {
        const SequenceSpec& spec = scheduler_.Find(id)->spec;
        served_[spec.tenant] += std::ssize(spec.prompt) - scheduler_.Find(id)->cached_tokens;
        --waiting_[spec.tenant];
      }
      size_t rows = 0;
      for (const SequenceChunk& chunk : plan.chunks) rows += chunk.logits_rows;
      const std::vector<LogitsResult> results(rows, {.sampled = {1, 0}});
      for (const SequenceUpdate& update : scheduler_.Commit(plan, results)) {
        ++served_[tenant_of_[update.id]];
      }
      greatest = std::max(greatest, std::abs(served_["long"] - served_["short"]));
    }
    return greatest;
  }

  int64_t served(const std::string& tenant) { return served_[tenant]; }

  static constexpr int kLargest = 20 + 12;

 private:
  void Add(const std::string& tenant) {
    SequenceSpec spec{.id = next_id_++, .skip = SkipSet(kTrafficLayers), .tenant = tenant};
    const bool is_long = tenant == "long";
    spec.prompt.resize(is_long ? 20 : 2);
    for (int32_t& token : spec.prompt) token = static_cast<int32_t>(random_() % kTrafficVocab);
    spec.max_tokens = is_long ? 12 : 1 + random_() % 4;
    spec.arrival = Time(std::chrono::milliseconds(spec.id));
    tenant_of_[spec.id] = tenant;
    ++waiting_[tenant];
    scheduler_.Add(std::move(spec));
  }

  Scheduler scheduler_;
  std::mt19937 random_{3};
  std::map<std::string, int64_t> served_;
  std::map<std::string, int> waiting_;
  std::map<SequenceId, std::string> tenant_of_;
  SequenceId next_id_ = 1;
};

TEST(FairShareTest, OneAtATimeTenantsDifferByOneRequestAtTheMost) {
  FairTraffic traffic(/*max_sequences=*/1);
  EXPECT_LE(traffic.GreatestDifference(10'000), FairTraffic::kLargest);
  EXPECT_GT(traffic.served("short"), 1000);
}

// Tokens are counted as they are drawn: a tenant may be ahead by what has started and still runs.
TEST(FairShareTest, TenantsDifferByWhatRunsAtOnceAtTheMost) {
  constexpr int kSequences = 6;
  FairTraffic traffic(kSequences);
  EXPECT_LE(traffic.GreatestDifference(10'000), (kSequences + 1) * FairTraffic::kLargest);
  EXPECT_GT(traffic.served("short"), 1000);
}

}  // namespace
}  // namespace skipstone
