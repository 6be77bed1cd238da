// What maps add to a step of the CPU: half of the attention sublayers are skipped, plainly and with
// maps in their place. The steps of the two alternate; `over_plain` is the median of their
// differences, pair by pair, as a share of the plain step (0.01: 1 %). Wanted: 1 % at the most for
// bias and diag.
//
//   maps_benchmark --benchmark_filter=diag --benchmark_min_time=10
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "engine/llama_runner.h"
#include "tests/support/seeded_maps.h"

namespace skipstone {
namespace {

constexpr int kLayers = 8;
constexpr int kPageTokens = 16;
constexpr int kMostRows = 128;
// 200 MB of weights: more than caches hold.
constexpr char kModel[] =
    "synthetic:layers=8,hidden=1024,heads=16,kv_heads=16,ffn=2816,vocab=2048,type=bf16";
const char* const kSets[] = {"attn:0-3", "attn:0-3@bias", "attn:0-3@diag", "attn:0-3@rank=16",
                             "attn:0-3@full"};

class Model {
 public:
  Model() {
    LoadedModel model = *LoadModel(kModel, {.backend = "cpu"});
    maps_.AddTo(&model, {std::begin(kSets), std::end(kSets)});
    runner_ = *MakeLlamaRunner(std::move(model), {.limits = {.max_rows = kMostRows,
                                                             .max_logits_rows = kMostRows,
                                                             .max_slots = kMostRows,
                                                             .page_tokens = kPageTokens,
                                                             .num_pages = 2048}});
  }

  double Seconds(const StepPlan& plan) {
    const auto start = std::chrono::steady_clock::now();
    runner_->Launch(plan);
    SKIPSTONE_CHECK(runner_->Collect().status.ok());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  SeededMaps maps_;
  std::unique_ptr<ModelRunner> runner_;
};

// Sequences of so many rows each, at their beginning; the last row of each needs logits.
StepPlan PlanOf(const char* set, int sequences, int rows) {
  StepPlan plan;
  const SkipSet skip = SeededSet(set, kLayers);
  int32_t next_page = 0;
  static const SamplingParams sampling;
  for (int32_t slot = 0; slot < sequences; ++slot) {
    plan.slot_starts.push_back({.slot = slot, .sampling = &sampling});
    for (int layer = 0; layer < kLayers; ++layer) {
      if (!skip.KeepsAttention(layer)) continue;
      for (int block = 0; block * kPageTokens < rows; ++block) {
        plan.page_updates.push_back({slot, layer, block, next_page++});
      }
    }
    plan.chunks.push_back({.sequence = static_cast<SequenceId>(slot),
                           .slot = slot,
                           .set = plan.SetOf(skip),
                           .num_rows = rows,
                           .first_token = static_cast<int32_t>(plan.tokens.size()),
                           .logits_rows = 1,
                           .samples = true});
    for (int i = 0; i < rows; ++i) plan.tokens.push_back((slot * 37 + i * 11) % 2000);
    plan.num_rows += rows;
  }
  return plan;
}

void Maps(benchmark::State& state, const char* set, int sequences, int rows) {
  static Model* const model = new Model;
  const StepPlan plain = PlanOf(kSets[0], sequences, rows);
  const StepPlan mapped = PlanOf(set, sequences, rows);
  std::vector<double> shares;
  bool plain_first = false;
  for (auto _ : state) {
    plain_first = !plain_first;
    const double first = model->Seconds(plain_first ? plain : mapped);
    const double second = model->Seconds(plain_first ? mapped : plain);
    const auto [before, with] = plain_first ? std::pair(first, second) : std::pair(second, first);
    shares.push_back((with - before) / before);
  }
  std::ranges::nth_element(shares, shares.begin() + std::ssize(shares) / 2);
  state.counters["over_plain"] = shares[shares.size() / 2];
}

void RegisterAll() {
  for (const char* set : kSets) {
    for (const auto& [sequences, rows] : {std::pair(1, 1), {8, 1}, {1, kMostRows}}) {
      const std::string name =
          std::string(set) + (rows == 1 ? "/decode:" : "/prompts:") + std::to_string(sequences);
      benchmark::RegisterBenchmark(
          name.c_str(), [=](benchmark::State& state) { Maps(state, set, sequences, rows); });
    }
  }
}

}  // namespace
}  // namespace skipstone

int main(int argc, char** argv) {
  skipstone::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
