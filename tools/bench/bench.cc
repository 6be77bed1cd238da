#include "tools/bench/bench.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/llama_runner.h"
#include "engine/make_backend.h"
#include "engine/skip/skip_grammar.h"
#include "tools/bench/bench_arm.h"
#include "tools/bench/ceiling_meter.h"
#include "tools/bench/step_meter.h"
#include "tools/bench/timed_backend.h"

namespace skipstone {
namespace {

// Steps of one arm's turn where steps overlap: enough that the one which does not count is cheap,
// few enough that the arms meet the same clocks.
constexpr int kBlockSteps = 8;

int ThreadsOf(const BenchOptions& options) {
  return options.threads > 0 ? options.threads : AvailableCpus();
}

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
  absl::StatusOr<BenchResult> Run(LoadedModel model);

 private:
  absl::Status Start(LoadedModel model);
  void Describe(const LoadedModel& model);
  absl::Status MakeArms();
  absl::Status TimeStages(LoadedModel* model);
  absl::Status WarmUp();
  absl::Status MeasureCeilings();
  absl::Status RunRound(int round);

  const BenchOptions options_;
  ModelShape shape_;
  ElementBytes element_bytes_;
  BenchResult result_;
  std::unique_ptr<CeilingMeter> ceiling_meter_;  // of the CPU
  DeviceProbe* probe_ = nullptr;                 // the backend's, which the runner owns
  TimedBackend* timed_ = nullptr;                // the runner's backend, with --stages
  std::vector<SkipSet> skips_;
  std::unique_ptr<PagePool> pool_;
  std::vector<std::unique_ptr<BenchArm>> arms_;
  std::unique_ptr<ModelRunner> runner_;
  std::unique_ptr<StepMeter> meter_;
};

void Bench::Describe(const LoadedModel& model) {
  shape_ = model.config.shape;
  const int64_t kv_elements = int64_t{2} * shape_.kv_size();
  element_bytes_ = {.weights = static_cast<int>(SizeOf(model.weight_type)),
                    .kv = static_cast<int>(model.backend->PageBytes(1) / kv_elements)};
  const bool device = model.backend->asynchronous();
  result_ = {.options = options_,
             .backend = model.backend->name(),
             .threads = ThreadsOf(options_),
             .weight_bytes = MatrixBytes(shape_, model.weight_type),
             .flops_kind = device ? absl::StrFormat("%s products", NameOf(model.weight_type))
                                  : "f32 multiply-add"};
}

// Each skip set's, then the mixed one.
absl::Status Bench::MakeArms() {
  SKIPSTONE_ASSIGN_OR_RETURN(skips_, ParseSkipList(options_.skip, shape_.num_layers));
  std::vector<std::vector<SkipSet>> sets;
  for (const SkipSet& skip : skips_) sets.push_back({skip});
  if (options_.mixed) sets.push_back(skips_);
  int64_t pages = 0;
  for (const auto& set : sets) pages += BenchArm::PagesNeeded(options_, set);
  pool_ = std::make_unique<PagePool>(pages);
  for (const auto& set : sets) {
    const int slot = static_cast<int>(arms_.size()) * BenchArm::SlotsFor(options_);
    arms_.push_back(std::make_unique<BenchArm>(options_, set, shape_.vocab, slot, *pool_));
    const BenchArm& arm = *arms_.back();
    result_.arms.push_back(
        {.skip = arm.name(), .mixed = arm.mixed(), .kv_pages_used = arm.decode_pages()});
  }
  return absl::OkStatus();
}

absl::Status Bench::TimeStages(LoadedModel* model) {
  if (model->backend->asynchronous() && probe_ == nullptr) {
    return absl::UnimplementedError(
        absl::StrFormat("--stages: backend '%s' does not time its stages", result_.backend));
  }
  auto timed = std::make_unique<TimedBackend>(std::move(model->backend));
  timed_ = timed.get();
  model->backend = std::move(timed);
  return absl::OkStatus();
}

absl::Status Bench::Start(LoadedModel model) {
  Describe(model);
  SKIPSTONE_RETURN_IF_ERROR(CheckContext(options_, shape_));
  SKIPSTONE_RETURN_IF_ERROR(MakeArms());
  probe_ = model.backend->probe();
  if (!model.backend->asynchronous()) {
    ceiling_meter_ =
        std::make_unique<CeilingMeter>(ThreadsOf(options_), AvailableMemoryBytes() / 4);
  }
  if (options_.stages) SKIPSTONE_RETURN_IF_ERROR(TimeStages(&model));
  const int slots = static_cast<int>(arms_.size()) * BenchArm::SlotsFor(options_);
  const RunnerOptions runner{.limits = {.max_rows = std::max(options_.chunk, options_.batch),
                                        .max_logits_rows = options_.batch,
                                        .max_slots = slots,
                                        .page_tokens = options_.page_tokens,
                                        .num_pages = pool_->size()},
                             .levels = skips_};
  SKIPSTONE_ASSIGN_OR_RETURN(runner_, MakeLlamaRunner(std::move(model), runner));
  meter_ =
      std::make_unique<StepMeter>(*runner_, timed_, shape_, options_.page_tokens, element_bytes_);
  return absl::OkStatus();
}

// Touches all memory and lets clocks and caches settle.
absl::Status Bench::WarmUp() {
  for (const auto& arm : arms_) {
    SKIPSTONE_RETURN_IF_ERROR(meter_->RunUnmeasured(arm->FillPlans()));
    SKIPSTONE_RETURN_IF_ERROR(meter_->RunUnmeasured(arm->PrefillPlans()));
    SKIPSTONE_RETURN_IF_ERROR(
        meter_->RunUnmeasured(arm->DecodePlans(0, std::min(2, options_.steps))));
  }
  return absl::OkStatus();
}

// None on a device without a probe.
absl::Status Bench::MeasureCeilings() {
  Ceilings ceilings;
  if (probe_ != nullptr) {
    SKIPSTONE_ASSIGN_OR_RETURN(ceilings, probe_->MeasureCeilings());
  } else if (ceiling_meter_ != nullptr) {
    ceilings = ceiling_meter_->Measure();
  } else {
    return absl::OkStatus();
  }
  meter_->set_ceilings(ceilings);
  result_.ceilings.push_back(ceilings);
  return absl::OkStatus();
}

// Every other round in the opposite order: what comes second must not gain or lose by it.
absl::Status Bench::RunRound(int round) {
  SKIPSTONE_RETURN_IF_ERROR(MeasureCeilings());
  const int n = static_cast<int>(arms_.size());
  const auto turn = [&](int i) { return round % 2 == 0 ? i : n - 1 - i; };
  for (int i = 0; i < n; ++i) {
    const std::vector<StepPlan> plans = arms_[turn(i)]->PrefillPlans();
    if (plans.empty()) continue;
    SKIPSTONE_RETURN_IF_ERROR(meter_->MeasureAll(plans, &result_.arms[turn(i)].prefill));
  }
  const int block = runner_->max_in_flight() > 1 ? kBlockSteps : 1;
  for (int step = 0; step < options_.steps; step += block) {
    const int count = std::min(block, options_.steps - step);
    for (int i = 0; i < n; ++i) {
      SKIPSTONE_RETURN_IF_ERROR(meter_->MeasureEach(arms_[turn(i)]->DecodePlans(step, count),
                                                    &result_.arms[turn(i)].decode));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BenchResult> Bench::Run(LoadedModel model) {
  SKIPSTONE_RETURN_IF_ERROR(Start(std::move(model)));
  SKIPSTONE_RETURN_IF_ERROR(WarmUp());
  for (int round = 0; round < options_.rounds; ++round) {
    SKIPSTONE_RETURN_IF_ERROR(RunRound(round));
  }
  return std::move(result_);
}

}  // namespace

absl::StatusOr<BenchResult> RunBench(const BenchOptions& options) {
  SKIPSTONE_ASSIGN_OR_RETURN(LoadedModel model,
                             LoadModel(options.model, {.backend = options.backend,
                                                       .threads = ThreadsOf(options),
                                                       .tuning_cache = options.tuning_cache}));
  return RunBench(options, std::move(model));
}

absl::StatusOr<BenchResult> RunBench(const BenchOptions& options, LoadedModel model) {
  return Bench(options).Run(std::move(model));
}

}  // namespace skipstone
