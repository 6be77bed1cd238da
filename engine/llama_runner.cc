#include "engine/llama_runner.h"

#include <deque>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "engine/model/llama.h"
#include "engine/schedule/row_lists.h"
#include "engine/warm_up.h"

namespace skipstone {
namespace {

class LlamaRunner : public ModelRunner {
 public:
  LlamaRunner(LoadedModel model, int page_tokens, bool liveness)
      : model_(std::move(model)),
        rows_(model_.config.shape.num_layers, page_tokens, liveness, model_.maps) {}

  void Launch(const StepPlan& plan) override {
    rows_.Build(plan);
    const StepInput input = rows_.input();
    model_.backend->BeginStep(input);
    model_.backend->Run([&] { Forward(input, model_.weights, *model_.backend); });
    model_.backend->EndStep();
    const auto order = rows_.plan_order();
    in_flight_.push_back({{order.begin(), order.end()}, rows_.rows_eliminated()});
  }

  StepResults Collect() override {
    SKIPSTONE_CHECK(!in_flight_.empty());
    const InFlight step = std::move(in_flight_.front());
    in_flight_.pop_front();
    StepResults results;
    results.status = model_.backend->WaitStep(&row_order_);
    if (!results.status.ok()) return results;
    SKIPSTONE_CHECK(row_order_.size() == step.plan_order.size());
    results.rows_eliminated = step.rows_eliminated;
    results.logits.resize(row_order_.size());
    for (size_t i = 0; i < row_order_.size(); ++i) {
      results.logits[step.plan_order[i]] = std::move(row_order_[i]);
    }
    return results;
  }

  BackendUsage Usage() const override { return model_.backend->Usage(); }
  // The CPU computes within Launch: a second step in flight would only delay the first one's
  // tokens.
  int max_in_flight() const override { return model_.backend->asynchronous() ? 2 : 1; }

 private:
  struct InFlight {
    std::vector<int32_t> plan_order;
    int64_t rows_eliminated;
  };

  LoadedModel model_;
  RowLists rows_;
  std::deque<InFlight> in_flight_;
  std::vector<LogitsResult> row_order_;
};

}  // namespace

ModelWork ModelWorkOf(const LoadedModel& model) {
  const ModelShape& s = model.config.shape;
  const double row_bytes = static_cast<double>(s.hidden) * SizeOf(model.weight_type);
  return {.query_bytes = 2 * row_bytes * s.q_size(),
          .kv_bytes = 2 * row_bytes * s.kv_size(),
          .mlp_bytes = 3 * row_bytes * s.ffn,
          .head_bytes = row_bytes * s.vocab,
          .kv_token_bytes = static_cast<double>(model.backend->PageBytes(1)),
          .rows_per_read = model.backend->RowsPerRead()};
}

absl::StatusOr<std::unique_ptr<ModelRunner>> MakeLlamaRunner(LoadedModel model,
                                                             const RunnerOptions& options) {
  Backend& backend = *model.backend;
  const ModelShape shape = model.config.shape;
  SKIPSTONE_RETURN_IF_ERROR(backend.Allocate(options.limits));
  auto runner =
      std::make_unique<LlamaRunner>(std::move(model), options.limits.page_tokens, options.liveness);
  if (backend.asynchronous()) {
    SKIPSTONE_RETURN_IF_ERROR(WarmUp(shape, options.limits, options.levels, *runner));
  }
  backend.EndWarmUp();
  return runner;
}

}  // namespace skipstone
