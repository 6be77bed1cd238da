#include "server/describe.h"

#include <optional>
#include <string>

#include "absl/strings/str_format.h"

namespace skipstone::server {
namespace {

// Nothing without maps.
std::optional<v1::Compensation> CompensationOf(const Level& level) {
  if (!level.skip.HasMaps()) return std::nullopt;
  v1::Compensation compensation;
  compensation.set_name(level.compensation);
  compensation.set_hash(absl::StrFormat("%016x", level.skip.maps_hash()));
  return compensation;
}

void Set(const Measured& from, v1::Measured* to) {
  to->set_value(from.value);
  to->set_low(from.low);
  to->set_high(from.high);
}

void SetQuality(const LevelQuality& from, v1::LevelQuality& to) {
  Set(from.kl, to.mutable_kl_nats());
  Set(from.perplexity, to.mutable_perplexity());
  Set(from.agreement, to.mutable_agreement());
  if (from.retention) Set(*from.retention, to.mutable_retention());
  if (from.choice) Set(*from.choice, to.mutable_choice());
  if (from.recall) Set(*from.recall, to.mutable_recall());
}

void SetLevel(const Level& from, v1::Level& to) {
  to.set_name(from.name);
  to.set_spec(from.skip.ToString());
  to.set_skip_id(from.skip.id());
  to.set_skipped_attention(from.skip.SkippedAttention());
  to.set_skipped_mlp(from.skip.SkippedMlp());
  to.set_windowed_attention(from.skip.WindowedAttention());
  to.set_smallest_window_tokens(from.skip.SmallestWindow());
  if (const auto compensation = CompensationOf(from)) *to.mutable_compensation() = *compensation;
  if (from.quality) SetQuality(*from.quality, *to.mutable_quality());
  to.set_family(from.family);
  to.set_sheds_to_identity(from.sheds_to_identity);
  if (from.decode_ms_saved) to.set_decode_ms_saved(*from.decode_ms_saved);
  if (from.pages_saved) to.set_pages_saved(*from.pages_saved);
}

}  // namespace

v1::AppliedSkip AppliedSkipOf(const Level& level, const std::string& experiment,
                              const std::string& arm) {
  v1::AppliedSkip applied;
  applied.set_level(level.name);
  applied.set_spec(level.skip.ToString());
  applied.set_skip_id(level.skip.id());
  for (int layer = 0; layer < level.skip.num_layers(); ++layer) {
    if (!level.skip.KeepsAttention(layer)) applied.mutable_layers()->add_attention(layer);
    if (!level.skip.KeepsMlp(layer)) applied.mutable_layers()->add_mlp(layer);
    if (const int window = level.skip.Window(layer); window > 0) {
      v1::WindowedLayer* windowed = applied.mutable_layers()->add_windowed();
      windowed->set_layer(layer);
      windowed->set_tokens(window);
    }
  }
  if (const auto compensation = CompensationOf(level)) {
    *applied.mutable_compensation() = *compensation;
  }
  applied.set_experiment(experiment);
  applied.set_arm(arm);
  return applied;
}

void DescribeLevels(const Levels& levels, v1::GetModelResponse& response) {
  response.set_default_level(levels.default_level().name);
  response.set_allow_custom_skip(levels.allow_custom());
  response.set_max_skipped_attention(levels.max_skipped_attention());
  response.set_max_windowed_attention(levels.max_windowed_attention());
  response.set_min_window_tokens(levels.min_window());
  response.set_sink_tokens(kSinkTokens);
  for (const Level& level : levels.all()) SetLevel(level, *response.add_levels());
  const std::string why = levels.WhyUnmeasured();
  response.set_levels_measured(why.empty());
  response.set_levels_unmeasured_reason(why);
}

void DescribeExperiments(const Experiments& experiments, v1::GetModelResponse& response) {
  for (const Experiment& each : experiments.all()) {
    const ExperimentConfig& from = each.config();
    v1::Experiment* experiment = response.add_experiments();
    experiment->set_name(from.name);
    experiment->set_enabled(from.enabled);
    experiment->set_unit(from.unit);
    for (const ArmConfig& arm : from.arms) {
      v1::ExperimentArm* to = experiment->add_arms();
      to->set_name(arm.name);
      to->set_level(arm.level);
      to->set_weight(arm.weight);
    }
  }
}

}  // namespace skipstone::server
