// A ModelRunner without a model. It keeps simulated K/V pages and draws each token as a hash of
// what it reads from them, so that a page that is shared, stale or missing changes the output. What
// a row leaves above a windowed layer depends on what it saw there, above a map on the map, and
// rows run as far as liveness says.
//
// FakeToken says what a sequence must draw, whatever the schedule was.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "engine/model_runner.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

struct FakeRunnerOptions {
  int vocab = 100;
  int page_tokens = 4;
  int64_t num_pages = 64;
  int num_layers = 4;
  int max_in_flight = 1;
  int broken_layer = -1;  // sequences that keep its attention get logits that are not finite
  int broken_from = 0;    // ... from this position on
  int fail_at_step = 0;   // this one and all behind it fail; counted from 1, 0: none
  // Called at each Launch with the plan, on the step thread: to block, to count, to inspect.
  std::function<void(const StepPlan&)> on_launch;
};

// The token that follows `tokens` under `skip`.
int32_t FakeToken(std::span<const int32_t> tokens, const SkipSet& skip, int vocab);
// The log-probability that the fake reports for `target` after `tokens`.
float FakeLogprob(std::span<const int32_t> tokens, const SkipSet& skip, int32_t target);

// What it reports of a row whose set is `level`, compared with one whose set is `full`.
float FakeKl(const SkipSet& full, const SkipSet& level);

class FakeRunner : public ModelRunner {
 public:
  explicit FakeRunner(FakeRunnerOptions options);

  void Launch(const StepPlan& plan) override;
  StepResults Collect() override;
  int max_in_flight() const override { return options_.max_in_flight; }
  BackendUsage Usage() const override {
    return {.weight_bytes = 1000, .page_bytes = 200, .buffer_bytes = 30, .recorded_steps = 4};
  }

  // From now on every step fails. Thread-safe.
  void FailSteps() { fail_ = true; }

 private:
  struct Slot {
    std::map<std::pair<int, int>, int32_t> pages;  // (layer, block) -> page
    int32_t last_sampled = -1;
  };

  uint64_t& Cell(const Slot& slot, int layer, int position);
  uint64_t Read(const Slot& slot, const SkipSet& skip, int position);
  uint64_t RunRow(Slot& slot, const SkipSet& skip, int last, int position, int32_t token);
  void RunChunk(const StepPlan& plan, const SequenceChunk& chunk, StepResults* results);

  const FakeRunnerOptions options_;
  std::atomic<bool> fail_{false};
  std::vector<std::vector<uint64_t>> pages_;
  std::map<int32_t, Slot> slots_;
  std::deque<StepResults> launched_;
  int collected_ = 0;
};

}  // namespace skipstone
