#include "engine/bench/bench.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/clock.h"
#include "engine/base/status.h"
#include "engine/bench/bench_arm.h"
#include "engine/bench/ceiling_meter.h"
#include "engine/bench/timed_backend.h"
#include "engine/llama_runner.h"
#include "engine/make_backend.h"
#include "engine/schedule/row_lists.h"
#include "engine/skip/skip_grammar.h"

namespace skipstone {
namespace {

absl::Status CheckContext(const BenchOptions& options, const ModelShape& shape) {
  const int64_t tokens =
      std::max<int64_t>(options.prompt, options.steps > 0 ? options.context + options.steps : 0);
  if (tokens <= shape.max_context) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("prompt %d and context %d + steps %d need %d positions, the model has %d",
                      options.prompt, options.context, options.steps, tokens, shape.max_context));
}

double MatrixBytes(const ModelShape& s, DType type) {
  const double attention = 2.0 * s.hidden * s.q_size() + 2.0 * s.hidden * s.kv_size();
  const double layer = attention + 3.0 * s.hidden * s.ffn;
  return (s.num_layers * layer + static_cast<double>(s.hidden) * s.vocab) * SizeOf(type);
}

class Bench {
 public:
  explicit Bench(const BenchOptions& options) : options_(options) {}
  absl::Status Start();
  absl::Status Run(BenchResult* result);

 private:
  absl::Status Execute(const StepPlan& plan);
  absl::Status WarmUp();
  absl::Status Measure(const std::vector<StepPlan>& plans, Phase* phase);
  absl::Status RunRound(int round, BenchResult* result);

  const BenchOptions options_;
  ModelShape shape_;
  ElementBytes element_bytes_;
  std::string backend_;
  double weight_bytes_ = 0;
  std::unique_ptr<CeilingMeter> meter_;  // null on a device
  std::unique_ptr<PagePool> pool_;
  std::vector<std::unique_ptr<BenchArm>> arms_;
  TimedBackend* timed_ = nullptr;  // the runner's, with --stages
  std::unique_ptr<ModelRunner> runner_;
  Ceilings ceilings_;  // of this round
};

absl::Status Bench::Start() {
  const int threads = options_.threads > 0 ? options_.threads : AvailableCpus();
  SKIPSTONE_ASSIGN_OR_RETURN(
      LoadedModel model,
      LoadModel(options_.model, {.backend = options_.backend, .threads = threads}));
  shape_ = model.config.shape;
  backend_ = model.backend->name();
  weight_bytes_ = MatrixBytes(shape_, model.weight_type);
  const int64_t kv_elements = int64_t{2} * shape_.kv_size();
  element_bytes_ = {.weights = static_cast<int>(SizeOf(model.weight_type)),
                    .kv = static_cast<int>(model.backend->PageBytes(1) / kv_elements)};
  SKIPSTONE_RETURN_IF_ERROR(CheckContext(options_, shape_));
  SKIPSTONE_ASSIGN_OR_RETURN(std::vector<SkipSet> skips,
                             ParseSkipList(options_.skip, shape_.num_layers));
  int64_t pages = 0;
  for (const SkipSet& skip : skips) pages += BenchArm::PagesNeeded(options_, skip);
  pool_ = std::make_unique<PagePool>(pages);
  int slot = 0;
  for (const SkipSet& skip : skips) {
    arms_.push_back(std::make_unique<BenchArm>(options_, skip, shape_.vocab, slot, *pool_));
    slot += BenchArm::SlotsFor(options_);
  }
  if (backend_ == "cpu") {
    meter_ = std::make_unique<CeilingMeter>(threads, AvailableMemoryBytes() / 4);
  }
  if (options_.stages) {
    auto timed = std::make_unique<TimedBackend>(std::move(model.backend));
    timed_ = timed.get();
    model.backend = std::move(timed);
  }
  const RunnerOptions runner{.limits = {.max_rows = std::max(options_.chunk, options_.batch),
                                        .max_logits_rows = options_.batch,
                                        .max_slots = slot,
                                        .page_tokens = options_.page_tokens,
                                        .num_pages = pages}};
  SKIPSTONE_ASSIGN_OR_RETURN(runner_, MakeLlamaRunner(std::move(model), runner));
  return absl::OkStatus();
}

absl::Status Bench::Execute(const StepPlan& plan) {
  runner_->Launch(plan);
  return runner_->Collect().status;
}

// Touches all memory and lets clocks and caches settle.
absl::Status Bench::WarmUp() {
  for (const auto& arm : arms_) {
    for (const StepPlan& plan : arm->FillPlans()) SKIPSTONE_RETURN_IF_ERROR(Execute(plan));
    for (const StepPlan& plan : arm->PrefillPlans()) SKIPSTONE_RETURN_IF_ERROR(Execute(plan));
  }
  return absl::OkStatus();
}

absl::Status Bench::Measure(const std::vector<StepPlan>& plans, Phase* phase) {
  if (timed_ != nullptr) timed_->Take();
  Sample sample{.ceilings = ceilings_};
  const Time start = SystemClock().Now();
  for (const StepPlan& plan : plans) SKIPSTONE_RETURN_IF_ERROR(Execute(plan));
  sample.seconds = Seconds(SystemClock().Now() - start);

  RowLists rows(shape_.num_layers, /*liveness=*/true);
  std::vector<StageCost> costs;
  for (const StepPlan& plan : plans) {
    rows.Build(plan);
    for (const StageCost& cost : CostOf(shape_, element_bytes_, rows.input())) {
      costs.push_back(cost);
    }
  }
  sample.cost = Total(costs);
  if (meter_ != nullptr) {
    sample.floor_seconds = Floor(costs, ceilings_);
    for (const StageCost& cost : costs) {
      phase->stage_floor_seconds[static_cast<int>(cost.stage)] += cost.Floor(ceilings_);
    }
  }
  phase->samples.push_back(sample);
  if (timed_ == nullptr) return absl::OkStatus();
  const auto seconds = timed_->Take();
  for (int s = 0; s < kNumStages; ++s) phase->stage_seconds[s] += seconds[s];
  return absl::OkStatus();
}

// Every other round in the opposite order: what comes second must not gain or lose by it.
absl::Status Bench::RunRound(int round, BenchResult* result) {
  if (meter_ != nullptr) {
    ceilings_ = meter_->Measure();
    result->ceilings.push_back(ceilings_);
  }
  const int n = static_cast<int>(arms_.size());
  const auto turn = [&](int i) { return round % 2 == 0 ? i : n - 1 - i; };
  for (int i = 0; i < n && options_.prompt > 0; ++i) {
    SKIPSTONE_RETURN_IF_ERROR(
        Measure(arms_[turn(i)]->PrefillPlans(), &result->arms[turn(i)].prefill));
  }
  for (int step = 0; step < options_.steps; ++step) {
    for (int i = 0; i < n; ++i) {
      SKIPSTONE_RETURN_IF_ERROR(
          Measure({arms_[turn(i)]->DecodePlan(step)}, &result->arms[turn(i)].decode));
    }
  }
  return absl::OkStatus();
}

absl::Status Bench::Run(BenchResult* result) {
  result->options = options_;
  result->backend = backend_;
  result->threads = options_.threads > 0 ? options_.threads : AvailableCpus();
  result->weight_bytes = weight_bytes_;
  for (const auto& arm : arms_) {
    result->arms.push_back({.skip = arm->skip().ToString(), .kv_pages_used = arm->decode_pages()});
  }
  SKIPSTONE_RETURN_IF_ERROR(WarmUp());
  for (int round = 0; round < options_.rounds; ++round) {
    SKIPSTONE_RETURN_IF_ERROR(RunRound(round, result));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BenchResult> RunBench(const BenchOptions& options) {
  Bench bench(options);
  BenchResult result;
  SKIPSTONE_RETURN_IF_ERROR(bench.Start());
  SKIPSTONE_RETURN_IF_ERROR(bench.Run(&result));
  return result;
}

}  // namespace skipstone
