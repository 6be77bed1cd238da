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
absl::StatusOr<int> ParseMaximum(const std::string& text, int num_layers) {
  if (text.empty()) return num_layers;
  int number = 0;
  const bool percent = text.back() == '%';
  const std::string digits = percent ? text.substr(0, text.size() - 1) : text;
  if (!absl::SimpleAtoi(digits, &number) || number < 0 || (percent && number > 100)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "policy.max_skipped_attention: '%s' is neither a count nor a percentage", text));
  }
  return percent ? (num_layers * number + 50) / 100 : std::min(number, num_layers);
}

absl::Status In(const std::string& field, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrFormat("%s: %s", field, std::string(status.message())));
}

SkipSet FromLayers(const v1::LayerSet& layers, int num_layers, absl::Status* status) {
  SkipSet skip(num_layers);
  const auto add = [&](const auto& list, const char* field, auto mark) {
    if (list.size() > num_layers) {
      *status = absl::InvalidArgumentError(
          absl::StrFormat("skip.layers.%s: %d layers are listed, the model has %d", field,
                          list.size(), num_layers));
      return;
    }
    for (const uint32_t layer : list) {
      if (layer < static_cast<uint32_t>(num_layers)) {
        mark(layer);
        continue;
      }
      *status = absl::InvalidArgumentError(absl::StrFormat(
          "skip.layers.%s: layer %d is outside the model's %d layers", field, layer, num_layers));
      return;
    }
  };
  add(layers.attention(), "attention", [&](int layer) { skip.SkipAttention(layer); });
  add(layers.mlp(), "mlp", [&](int layer) { skip.SkipMlp(layer); });
  if (status->ok() && skip.SkipsEverything()) {
    *status = absl::InvalidArgumentError("skip.layers: every sublayer of the model is skipped");
  }
  return skip;
}

}  // namespace

absl::StatusOr<Levels> Levels::Make(const ServerConfig& config, int num_layers) {
  Levels levels;
  levels.num_layers_ = num_layers;
  levels.allow_custom_ = config.policy.allow_custom_skip;
  SKIPSTONE_ASSIGN_OR_RETURN(levels.max_skipped_attention_,
                             ParseMaximum(config.policy.max_skipped_attention, num_layers));
  for (const LevelConfig& level : config.levels) {
    const std::string field = "levels." + level.name;
    if (!IsLevelName(level.name)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "levels: '%s' is not a level name ([a-z][a-z0-9._-]*; 'none' and 'custom' are reserved)",
          level.name));
    }
    auto skip = ParseSkipSet(level.spec, num_layers);
    if (!skip.ok()) return In(field, skip.status());
    SKIPSTONE_RETURN_IF_ERROR(levels.CheckMaximum(field, *skip));
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

absl::Status Levels::CheckMaximum(const std::string& field, const SkipSet& skip) const {
  if (skip.SkippedAttention() <= max_skipped_attention_) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: %d attention sublayers are skipped, the policy's limit is %d of %d",
                      field, skip.SkippedAttention(), max_skipped_attention_, num_layers_));
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
  SKIPSTONE_RETURN_IF_ERROR(CheckMaximum(field, *skip));
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
  absl::Status status;
  const SkipSet set = FromLayers(skip.layers(), num_layers_, &status);
  SKIPSTONE_RETURN_IF_ERROR(status);
  SKIPSTONE_RETURN_IF_ERROR(CheckMaximum("skip.layers", set));
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
      absl::StrFormat("skip.adaptive: the ceiling %s does not contain the choice %s",
                      ceiling.ToString(), chosen.ToString()));
}

}  // namespace skipstone::server
