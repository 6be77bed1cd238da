#include "server/levels.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/skip/skip_grammar.h"

namespace skipstone::server {
namespace {

// Every layer of the largest model by its number, twice, takes less.
constexpr size_t kMaxSpecBytes = 4096;

// [a-z][a-z0-9._-]*
bool IsLevelName(const std::string& name) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  if (name.empty() || !lower(name[0])) return false;
  for (const char c : name) {
    if (!lower(c) && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-') return false;
  }
  return name != "none" && name != kCustomLevel;
}

// "75%" or a count, of `num_layers` attention sublayers.
absl::StatusOr<int> ParseMaximum(const char* key, const std::string& text, int num_layers) {
  if (text.empty()) return num_layers;
  int number = 0;
  const bool percent = text.back() == '%';
  const std::string digits = percent ? text.substr(0, text.size() - 1) : text;
  if (!absl::SimpleAtoi(digits, &number) || number < 0 || (percent && number > 100)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("policy.%s: '%s' is neither a count nor a percentage", key, text));
  }
  return percent ? (num_layers * number + 50) / 100 : std::min(number, num_layers);
}

absl::Status In(const std::string& field, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrFormat("%s: %s", field, std::string(status.message())));
}

absl::Status CheckLayer(uint32_t layer, int num_layers) {
  if (layer < static_cast<uint32_t>(num_layers)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("layer %d is outside the model's %d layers", layer, num_layers));
}

absl::Status CheckCount(int listed, int num_layers) {
  if (listed <= num_layers) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%d layers are listed, the model has %d", listed, num_layers));
}

// Those of the list, each of them below `num_layers`.
absl::StatusOr<LayerBits> BitsOf(const google::protobuf::RepeatedField<uint32_t>& list,
                                 int num_layers) {
  SKIPSTONE_RETURN_IF_ERROR(CheckCount(list.size(), num_layers));
  LayerBits bits;
  for (const uint32_t layer : list) {
    SKIPSTONE_RETURN_IF_ERROR(CheckLayer(layer, num_layers));
    bits.set(layer);
  }
  return bits;
}

absl::Status AddWindows(const v1::LayerSet& layers, SkipSet& skip) {
  const absl::Status count = CheckCount(layers.windowed_size(), skip.num_layers());
  if (!count.ok()) return In("skip.layers.windowed", count);
  for (int i = 0; i < layers.windowed_size(); ++i) {
    const v1::WindowedLayer& windowed = layers.windowed(i);
    absl::Status added = CheckLayer(windowed.layer(), skip.num_layers());
    if (added.ok()) {
      added = AddWindow(skip, static_cast<int>(windowed.layer()), windowed.tokens());
    }
    if (!added.ok()) return In(absl::StrFormat("skip.layers.windowed[%d]", i), added);
  }
  return absl::OkStatus();
}

absl::StatusOr<SkipSet> FromLayers(const v1::LayerSet& layers, int num_layers) {
  const auto attention = BitsOf(layers.attention(), num_layers);
  if (!attention.ok()) return In("skip.layers.attention", attention.status());
  const auto mlp = BitsOf(layers.mlp(), num_layers);
  if (!mlp.ok()) return In("skip.layers.mlp", mlp.status());
  SkipSet skip(num_layers);
  for (int layer = 0; layer < num_layers; ++layer) {
    if ((*attention)[layer]) skip.SkipAttention(layer);
    if ((*mlp)[layer]) skip.SkipMlp(layer);
  }
  SKIPSTONE_RETURN_IF_ERROR(AddWindows(layers, skip));
  if (skip.SkipsEverything()) {
    return absl::InvalidArgumentError("skip.layers: every sublayer of the model is skipped");
  }
  return skip;
}

std::string AttentionOf(const SkipSet& skip, int layer) {
  if (!skip.KeepsAttention(layer)) return "skipped";
  const int window = skip.Window(layer);
  return window == 0 ? "full" : absl::StrFormat("a window of %d tokens", window);
}

// The first layer of which a ceiling that does not contain the choice leaves what it may not:
// "the attention of layer 3 goes from skipped to full".
std::string Shrunk(const SkipSet& chosen, const SkipSet& ceiling) {
  int layer = 0;
  while (ceiling.Below(layer + 1).Contains(chosen.Below(layer + 1))) ++layer;
  if (!chosen.KeepsMlp(layer) && ceiling.KeepsMlp(layer)) {
    return absl::StrFormat("the MLP of layer %d goes from skipped to kept", layer);
  }
  return absl::StrFormat("the attention of layer %d goes from %s to %s", layer,
                         AttentionOf(chosen, layer), AttentionOf(ceiling, layer));
}

}  // namespace

absl::StatusOr<Levels> Levels::Make(const ServerConfig& config, int num_layers, int max_context) {
  const PolicyConfig& policy = config.policy;
  Levels levels;
  levels.num_layers_ = num_layers;
  levels.max_context_ = max_context;
  levels.allow_custom_ = policy.allow_custom_skip;
  levels.min_window_ = policy.min_window;
  SKIPSTONE_ASSIGN_OR_RETURN(
      levels.max_skipped_attention_,
      ParseMaximum("max_skipped_attention", policy.max_skipped_attention, num_layers));
  SKIPSTONE_ASSIGN_OR_RETURN(
      levels.max_windowed_attention_,
      ParseMaximum("max_windowed_attention", policy.max_windowed_attention, num_layers));
  for (const LevelConfig& level : config.levels) {
    const std::string field = "levels." + level.name;
    if (!IsLevelName(level.name)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "levels: '%s' is not a level name ([a-z][a-z0-9._-]*; 'none' and 'custom' are reserved)",
          level.name));
    }
    auto skip = ParseSkipSet(level.spec, num_layers);
    if (!skip.ok()) return In(field, skip.status());
    SKIPSTONE_RETURN_IF_ERROR(levels.CheckPolicy(field, *skip));
    if (level.name == config.default_level) levels.default_ = levels.levels_.size();
    levels.levels_.push_back({level.name, *skip});
  }
  if (const auto known = levels.Find(config.default_level); !known.ok()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("default_level: %s", std::string(known.status().message())));
  }
  return levels;
}

absl::StatusOr<Level> Levels::Find(const std::string& name) const {
  std::string known;
  for (const Level& level : levels_) {
    if (level.name == name) return level;
    known += (known.empty() ? "" : ", ") + level.name;
  }
  constexpr int kShown = 80;
  return absl::NotFoundError(
      absl::StrFormat("no level '%.*s'; the levels are: %s", kShown, name, known));
}

absl::Status Levels::CheckPolicy(const std::string& field, const SkipSet& skip) const {
  const auto at_most = [&](int layers, const char* what, int most, const char* key) {
    if (layers <= most) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: %d attention sublayers are %s, the policy's limit is %d of %d (policy.%s)", field,
        layers, what, most, num_layers_, key));
  };
  SKIPSTONE_RETURN_IF_ERROR(
      at_most(skip.SkippedAttention(), "skipped", max_skipped_attention_, "max_skipped_attention"));
  SKIPSTONE_RETURN_IF_ERROR(at_most(skip.WindowedAttention(), "windowed", max_windowed_attention_,
                                    "max_windowed_attention"));
  return CheckWindows(field, skip);
}

absl::Status Levels::CheckWindows(const std::string& field, const SkipSet& skip) const {
  for (int layer = 0; layer < num_layers_; ++layer) {
    const int window = skip.Window(layer);
    if (window == 0) continue;
    if (window < min_window_) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: layer %d has a window of %d tokens, the policy's least is %d (policy.min_window)",
          field, layer, window, min_window_));
    }
    if (window > max_context_) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: layer %d has a window of %d tokens, the model's context is %d",
                          field, layer, window, max_context_));
    }
  }
  return absl::OkStatus();
}

absl::Status Levels::CheckCustom() const {
  if (allow_custom_) return absl::OkStatus();
  return absl::PermissionDeniedError(
      "skip: this server takes named levels only (policy.allow_custom_skip is false)");
}

absl::StatusOr<SkipSet> Levels::Custom(const std::string& field, const std::string& spec) const {
  if (spec.size() > kMaxSpecBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: %d bytes, the limit is %d", field, spec.size(), kMaxSpecBytes));
  }
  auto skip = ParseSkipSet(spec, num_layers_);
  if (!skip.ok()) return In(field, skip.status());
  SKIPSTONE_RETURN_IF_ERROR(CheckPolicy(field, *skip));
  return skip;
}

absl::StatusOr<Level> Levels::Choose(const v1::Skip& skip) const {
  if (skip.choice_case() == v1::Skip::kLevel) {
    auto level = Find(skip.level());
    if (!level.ok()) return In("skip.level", level.status());
    return level;
  }
  SKIPSTONE_RETURN_IF_ERROR(CheckCustom());
  if (skip.choice_case() == v1::Skip::kSpec) {
    SKIPSTONE_ASSIGN_OR_RETURN(const SkipSet set, Custom("skip.spec", skip.spec()));
    return Level{kCustomLevel, set};
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const SkipSet set, FromLayers(skip.layers(), num_layers_));
  SKIPSTONE_RETURN_IF_ERROR(CheckPolicy("skip.layers", set));
  return Level{kCustomLevel, set};
}

Level Levels::LevelOf(const SkipSet& skip) const {
  for (const Level& level : levels_) {
    if (level.skip == skip) return level;
  }
  return {kCustomLevel, skip};
}

absl::StatusOr<std::optional<SkipSet>> Levels::Ceiling(const v1::Skip& skip,
                                                       const SkipSet& chosen) const {
  if (!skip.has_adaptive()) return std::nullopt;
  const v1::Adaptive& adaptive = skip.adaptive();
  SkipSet ceiling;
  if (adaptive.ceiling_case() == v1::Adaptive::kCeilingLevel) {
    const auto level = Find(adaptive.ceiling_level());
    if (!level.ok()) return In("skip.adaptive.ceiling_level", level.status());
    ceiling = level->skip;
  } else if (adaptive.ceiling_case() == v1::Adaptive::kCeilingSpec) {
    SKIPSTONE_RETURN_IF_ERROR(CheckCustom());
    SKIPSTONE_ASSIGN_OR_RETURN(ceiling,
                               Custom("skip.adaptive.ceiling_spec", adaptive.ceiling_spec()));
  } else {
    return absl::InvalidArgumentError("skip.adaptive: a ceiling is wanted");
  }
  if (ceiling == chosen) return std::nullopt;
  if (ceiling.Contains(chosen)) return ceiling;
  return absl::InvalidArgumentError(
      absl::StrFormat("skip.adaptive: the ceiling %s does not contain the choice %s: %s",
                      ceiling.ToString(), chosen.ToString(), Shrunk(chosen, ceiling)));
}

}  // namespace skipstone::server
