// What maps add to a step of the CPU: half of the attention sublayers are skipped, plainly and with
// maps in their place. The steps of the two alternate, on one thread, by its CPU time; `over_plain`
// is the median of their differences, pair by pair, as a share of the plain step (0.01: 1 %). The
// set itself against itself says what the measurement is worth. Wanted: 1 % at the most for bias
// and diag. "small" is of the demo model's size, where a step is 0.2 ms.
//
//   maps_benchmark --benchmark_filter=diag --benchmark_min_time=10
#include <time.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "benchmark/benchmark.h"
#include "engine/llama_runner.h"
#include "tests/support/seeded_maps.h"

namespace skipstone {
namespace {

constexpr int kLayers = 8;
constexpr int kPageTokens = 16;
constexpr int kMostRows = 128;
struct Shape {
  const char* name;
  const char* model;
};
constexpr Shape kShapes[] = {
    {"small", "synthetic:layers=8,hidden=256,heads=4,kv_heads=2,ffn=512,vocab=2048"},
    // 200 MB of weights: more than caches hold.
    {"large", "synthetic:layers=8,hidden=1024,heads=16,kv_heads=16,ffn=2816,vocab=2048"},
};
const char* const kSets[] = {"attn:0-3", "attn:0-3@bias", "attn:0-3@diag", "attn:0-3@rank=16",
                             "attn:0-3@full"};

double CpuSecondsOfThisThread() {
  timespec time;
  SKIPSTONE_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

class Model {
 public:
  explicit Model(const char* name) {
    LoadedModel model = *LoadModel(name, {.backend = "cpu", .threads = 1});
    maps_.AddTo(&model, {std::begin(kSets), std::end(kSets)});
    runner_ = *MakeLlamaRunner(std::move(model), {.limits = {.max_rows = kMostRows,
                                                             .max_logits_rows = kMostRows,
                                                             .max_slots = kMostRows,
                                                             .page_tokens = kPageTokens,
                                                             .num_pages = 2048}});
  }

  double Seconds(const StepPlan& plan) {
    const double start = CpuSecondsOfThisThread();
    runner_->Launch(plan);
    SKIPSTONE_CHECK(runner_->Collect().status.ok());
    return CpuSecondsOfThisThread() - start;
  }

 private:
  SeededMaps maps_;
  std::unique_ptr<ModelRunner> runner_;
};

// Sequences of so many rows each, at their beginning; the last row of each needs logits.
// They take the sets in turn.
StepPlan PlanOf(const std::vector<const char*>& sets, int sequences, int rows) {
  StepPlan plan;
  int32_t next_page = 0;
  static const SamplingParams sampling;
  for (int32_t slot = 0; slot < sequences; ++slot) {
    const SkipSet skip = SeededSet(sets[slot % sets.size()], kLayers);
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

void Compare(benchmark::State& state, Model* model, const StepPlan& plain, const StepPlan& mapped) {
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
  for (const Shape& shape : kShapes) {
    auto model = std::make_shared<std::unique_ptr<Model>>();  // made when it is run first
    for (const char* set : kSets) {
      for (const auto& [sequences, rows] : {std::pair(1, 1), {8, 1}, {1, kMostRows}}) {
        const std::string name = absl::StrFormat("%s/%s/%dx%d", shape.name, set, sequences, rows);
        benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
          if (*model == nullptr) *model = std::make_unique<Model>(shape.model);
          Compare(state, model->get(), PlanOf({kSets[0]}, sequences, rows),
                  PlanOf({set}, sequences, rows));
        });
      }
    }
    // Full, windowed and three maps in one batch, against the same batch without maps.
    benchmark::RegisterBenchmark(
        (std::string(shape.name) + "/mixed/15x1").c_str(), [=](benchmark::State& state) {
          if (*model == nullptr) *model = std::make_unique<Model>(shape.model);
          Compare(state, model->get(),
                  PlanOf({"none", "win:4-7/64", kSets[0], kSets[0], kSets[0]}, 15, 1),
                  PlanOf({"none", "win:4-7/64", kSets[1], kSets[2], kSets[3]}, 15, 1));
        });
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
