// What planning and committing a step costs the host: 1,024 running sequences of Llama-2-7B, in a
// mix of skip levels, each drawing one token a step. Wanted: 100 us a plan, no allocation. What the
// prefix cache adds to a commit is kv_benchmark's.
//
//   scheduler_benchmark --benchmark_filter=Plan
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "engine/schedule/attribution.h"
#include "engine/schedule/row_lists.h"
#include "engine/schedule/scheduler.h"
#include "engine/skip/skip_grammar.h"
#include "tests/benchmarks/allocation_counter.h"

namespace skipstone {
namespace {

constexpr int kPageTokens = 16;
constexpr int kLayers = 32;
constexpr int kPrompt = 96;
constexpr int kOutput = 4000;
constexpr int64_t kPages = int64_t{1} << 24;  // none is preempted

// Sequences that all decode, and are replaced when they end.
class Decoding {
 public:
  explicit Decoding(int sequences)
      : scheduler_({.max_batch_tokens = 8192,
                    .max_sequences = sequences,
                    .num_pages = kPages,
                    .prefix_cache = false}) {
    for (int i = 0; i < sequences; ++i) Add();
    while (plan_.decode_rows < sequences) Step();
    // The memory of a step is there after some, that of the page tables once a block was crossed.
    for (int i = 0; i < 64; ++i) Step();
  }

  void Next() { plan_ = scheduler_.Next(std::move(plan_)); }

  void Commit() {
    size_t rows = 0;
    for (const SequenceChunk& chunk : plan_.chunks) rows += chunk.logits_rows;
    if (results_.size() < rows) results_.resize(rows, {.sampled = {.id = 7, .logprob = 0}});
    int ended = 0;
    for (const SequenceUpdate& update : scheduler_.Commit(plan_, std::span(results_).first(rows))) {
      ended += update.end != SequenceEnd::kNone ? 1 : 0;
    }
    for (; ended > 0; --ended) Add();
  }

  void Step() {
    Next();
    Commit();
  }

  const StepPlan& plan() const { return plan_; }

 private:
  void Add() {
    static const char* const kSkips[] = {"none", "attn:last=25%", "attn:last=33%", "attn:last=50%"};
    SequenceSpec spec{.id = next_++, .skip = *ParseSkipSet(kSkips[next_ % 4], kLayers)};
    spec.prompt.assign(kPrompt, static_cast<int32_t>(spec.id));
    spec.max_tokens = kOutput;
    spec.arrival = Time(std::chrono::milliseconds(spec.id));
    scheduler_.Add(std::move(spec));
  }

  Scheduler scheduler_;
  StepPlan plan_;
  std::vector<LogitsResult> results_;
  SequenceId next_ = 1;
};

// Memory of the steady state is there before it is reached.
void Report(int64_t allocated, benchmark::State& state) {
  state.counters["allocations"] = static_cast<double>(allocated) / state.iterations();
  if (allocated > 0) state.SkipWithError("the steady state allocates");
}

void BM_Plan(benchmark::State& state) {
  Decoding decoding(static_cast<int>(state.range(0)));
  int64_t allocated = 0;
  for (auto _ : state) {
    const int64_t before = allocations;
    decoding.Next();
    allocated += allocations - before;
    state.PauseTiming();
    decoding.Commit();
    state.ResumeTiming();
  }
  Report(allocated, state);
}
BENCHMARK(BM_Plan)->Arg(256)->Arg(1024)->Iterations(1000)->Unit(benchmark::kMicrosecond);

void BM_PlanAndCommit(benchmark::State& state) {
  Decoding decoding(static_cast<int>(state.range(0)));
  const int64_t before = allocations;
  for (auto _ : state) decoding.Step();
  Report(allocations - before, state);
}
BENCHMARK(BM_PlanAndCommit)->Arg(256)->Arg(1024)->Iterations(1000)->Unit(benchmark::kMicrosecond);

// What else the host does to a plan: row lists for the runner, shares for attributed times.
void BM_RowLists(benchmark::State& state) {
  Decoding decoding(static_cast<int>(state.range(0)));
  decoding.Next();
  RowLists rows(kLayers, kPageTokens, /*liveness=*/true);
  for (auto _ : state) rows.Build(decoding.plan());
}
BENCHMARK(BM_RowLists)->Arg(256)->Arg(1024)->Unit(benchmark::kMicrosecond);

void BM_Attribution(benchmark::State& state) {
  Decoding decoding(static_cast<int>(state.range(0)));
  decoding.Next();
  Attribution attribution(ModelWork(), kPageTokens);
  for (auto _ : state) benchmark::DoNotOptimize(attribution.Shares(decoding.plan()).data());
}
BENCHMARK(BM_Attribution)->Arg(256)->Arg(1024)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace skipstone

BENCHMARK_MAIN();
