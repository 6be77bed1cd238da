#include "engine/quality/window_pass.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "engine/backend/widen.h"
#include "engine/quality/map_apply.h"
#include "engine/quality/window_step.h"

namespace skipstone::quality {
namespace {

constexpr int kPageTokens = 16;

std::vector<float> Floats(const Tensor& norm) {
  std::vector<float> values(norm.cols);
  for (int64_t i = 0; i < norm.cols; ++i) values[i] = ElementAt(norm.data, norm.type, i);
  return values;
}

TokenOutcome OutcomeOf(const LogitsResult& result, int32_t target, int32_t full_top) {
  const TokenLogprob& top = result.top[0];
  return {.nll = -result.target.logprob,
          .kl = result.kl,
          .confidence = std::exp(top.logprob),
          .correct = top.id == target,
          .agrees = top.id == full_top};
}

}  // namespace

struct WindowPass::Impl {
  Impl(const PassModel& model, const Limits& limits)
      : model(model), limits(limits), step(model.shape.num_layers, model.maps, kPageTokens) {
    for (const LayerTensors& layer : model.tensors.layers) {
      norms.push_back(Floats(layer.attention_norm));
      norms.push_back(Floats(layer.mlp_norm));
    }
  }

  void Visit(Point point);
  void Begin(int variant, Point point);
  void Map(int variant, Point point);
  void RunSublayer(Point point);
  std::span<float> Read(int variant);
  absl::Status TakeResults();

  PassModel model;
  const Limits limits;
  WindowStep step;
  std::vector<std::vector<float>> norms;  // by point
  std::span<const Variant> variants;
  Observe observe;
  std::vector<float> state;  // [rows][hidden] of one variant
  std::vector<LogitsResult> results;
  std::vector<std::vector<TokenOutcome>> outcomes;  // by variant
};

// All that happens between two sublayers.
void WindowPass::Impl::Visit(Point point) {
  for (int variant = 0; variant < std::ssize(variants); ++variant) {
    if (variants[variant].begin == point) Begin(variant, point);
    if (point < variants[variant].begin || point > step.EndOf(variant)) continue;
    if (observe && variants[variant].observed[point]) observe(variant, point, Read(variant));
  }
}

void WindowPass::Impl::Begin(int variant, Point point) {
  if (variants[variant].input == nullptr) {
    SKIPSTONE_CHECK(point == 0);
    return;
  }
  model.backend.WriteResidual(step.FirstRow(variant), step.rows(), variants[variant].input);
}

std::span<float> WindowPass::Impl::Read(int variant) {
  state.resize(static_cast<size_t>(step.rows()) * model.shape.hidden);
  model.backend.ReadResidual(step.FirstRow(variant), step.rows(), state.data());
  return state;
}

void WindowPass::Impl::RunSublayer(Point point) {
  const int layer = point / 2;
  const LayerRows& rows = step.input().layers[layer];
  const LayerWeights& w = model.weights.layers[layer];
  Backend& backend = model.backend;
  if (point == AttentionPoint(layer)) {
    if (!rows.kv_rows.empty()) {
      backend.QkvStore(layer, w.attention_norm, w.qkv);
      backend.Attend(layer);
      backend.ProjectAdd(layer, Sublayer::kAttention, w.o);
    }
    if (!rows.attention_maps.empty()) {
      backend.AddMaps(layer, Sublayer::kAttention, w.attention_norm, w.attention_maps);
    }
  } else {
    if (!rows.mlp_rows.empty()) {
      backend.GateUp(layer, w.mlp_norm, w.gate_up);
      backend.ProjectAdd(layer, Sublayer::kMlp, w.down);
    }
    if (!rows.mlp_maps.empty()) {
      backend.AddMaps(layer, Sublayer::kMlp, w.mlp_norm, w.mlp_maps);
    }
  }
  for (int variant = 0; variant < std::ssize(variants); ++variant) Map(variant, point);
}

// A map under trial, on the host.
void WindowPass::Impl::Map(int variant, Point point) {
  const Variant& v = variants[variant];
  if (v.fitted == nullptr || point < v.begin || point >= step.EndOf(variant)) return;
  const auto found = v.fitted->find(point);
  if (found == v.fitted->end()) return;
  const std::span<float> residual = Read(variant);
  const std::vector<float> normed = RmsNorm(residual, norms[point], model.shape.norm_epsilon);
  AddMap(*found->second, normed, residual);
  model.backend.WriteResidual(step.FirstRow(variant), step.rows(), residual.data());
}

absl::Status WindowPass::Impl::TakeResults() {
  SKIPSTONE_RETURN_IF_ERROR(model.backend.WaitStep(&results));
  const std::span<const LogitsRow> wanted = step.input().logits;
  for (int variant = 0; variant < std::ssize(variants); ++variant) {
    outcomes[variant].clear();
    if (!step.ToHead(variant)) continue;
    const int first = step.FirstRow(variant);
    for (int row = first; row < first + step.rows(); ++row) {
      if (!results[row].finite) {
        return absl::InternalError(
            absl::StrFormat("a logit of %s is not finite", variants[variant].skip.ToString()));
      }
      const int32_t reference = wanted[row].reference < 0 ? row : wanted[row].reference;
      outcomes[variant].push_back(
          OutcomeOf(results[row], wanted[row].target, results[reference].top[0].id));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<WindowPass>> WindowPass::Make(const PassModel& model,
                                                             const Limits& limits) {
  const int rows = limits.window - 1;
  const int blocks = (limits.window + kPageTokens - 1) / kPageTokens;
  SKIPSTONE_CHECK(rows >= 1 && limits.variants >= 1);
  SKIPSTONE_RETURN_IF_ERROR(
      model.backend.Allocate({.max_rows = rows * limits.variants,
                              .max_logits_rows = rows * limits.variants,
                              .max_slots = limits.variants,
                              .page_tokens = kPageTokens,
                              .num_pages = int64_t{blocks} * limits.variants}));
  return std::unique_ptr<WindowPass>(new WindowPass(std::make_unique<Impl>(model, limits)));
}

WindowPass::WindowPass(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WindowPass::~WindowPass() = default;

absl::Status WindowPass::Run(std::span<const int32_t> window, std::span<const Variant> variants,
                             const Observe& observe) {
  Impl& impl = *impl_;
  SKIPSTONE_CHECK(std::ssize(window) >= 2 && std::ssize(window) <= impl.limits.window);
  SKIPSTONE_CHECK(!variants.empty() && std::ssize(variants) <= impl.limits.variants);
  impl.variants = variants;
  impl.observe = observe;
  impl.outcomes.resize(std::max(impl.outcomes.size(), variants.size()));
  impl.step.Build(window, variants);
  Backend& backend = impl.model.backend;
  backend.BeginStep(impl.step.input());
  backend.Embed(impl.model.weights.embedding);
  Point last = 0;
  for (int variant = 0; variant < std::ssize(variants); ++variant) {
    last = std::max(last, impl.step.EndOf(variant));
  }
  for (Point point = 0; point < last; ++point) {
    impl.Visit(point);
    impl.RunSublayer(point);
  }
  impl.Visit(last);
  if (!impl.step.input().logits.empty()) {
    backend.Logits(impl.model.weights.final_norm, impl.model.weights.head);
  }
  backend.EndStep();
  return impl.TakeResults();
}

const std::vector<TokenOutcome>& WindowPass::outcomes(int variant) const {
  return impl_->outcomes[variant];
}

std::vector<float> WindowPass::Normed(Point point, std::span<const float> state) const {
  return RmsNorm(state, impl_->norms[point], impl_->model.shape.norm_epsilon);
}

const ModelShape& WindowPass::shape() const { return impl_->model.shape; }
const WindowPass::Limits& WindowPass::limits() const { return impl_->limits; }

}  // namespace skipstone::quality
