#include "server/levels.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "engine/skip/skip_grammar.h"
#include "server/ceiling.h"
#include "server/field_error.h"
#include "server/layer_set.h"

namespace skipstone::server {
namespace {

// Every layer of the largest model by its number, twice, takes less.
constexpr size_t kMaxSpecBytes = 4096;

// The set with the maps that a level of `file` has under this name, "diag".
absl::StatusOr<SkipSet> WithMaps(const SkipSet& skip, const std::string& compensation,
                                 const LevelsFile* file) {
  if (file == nullptr) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "'@%s' names maps of a levels file, and there is none (--levels)", compensation));
  }
  const CalibratedLevel* found = nullptr;
  std::string known;
  for (const CalibratedLevel& level : file->levels) {
    if (level.maps.empty()) continue;
    const std::string spec = level.skip.WithoutMaps().ToString() + "@" + level.compensation;
    known += (known.empty() ? "" : ", ") + spec;
    if (spec != skip.ToString() + "@" + compensation) continue;
    if (found != nullptr && found->skip != level.skip) {
      return absl::InvalidArgumentError(
          absl::StrFormat("the levels %s and %s of the levels file are both %s: name one of them",
                          found->name, level.name, spec));
    }
    if (found == nullptr) found = &level;
  }
  if (found != nullptr) return found->skip;
  return absl::InvalidArgumentError(
      absl::StrFormat("the levels file has no level %s@%s; with maps it has: %s", skip.ToString(),
                      compensation, known.empty() ? "none" : known));
}

Level Described(const std::string& name, const CalibratedLevel& level) {
  return {.name = name,
          .skip = level.skip,
          .compensation = level.compensation,
          .family = level.family,
          .sheds_to_identity = level.sheds_to_identity,
          .quality = level.quality,
          .decode_ms_saved = level.decode_ms_saved,
          .pages_saved = level.pages_saved};
}

// A set of the configuration's is what the file says of it, by whatever name.
Level Described(const std::string& name, const SkipSet& skip, const LevelsFile* file) {
  if (file != nullptr) {
    for (const CalibratedLevel& level : file->levels) {
      if (level.skip == skip) return Described(name, level);
    }
  }
  return {.name = name, .skip = skip};
}

}  // namespace

absl::StatusOr<int> ParseMaximum(const std::string& field, const std::string& text,
                                 int num_layers) {
  if (text.empty()) return num_layers;
  int number = 0;
  const bool percent = text.back() == '%';
  const std::string digits = percent ? text.substr(0, text.size() - 1) : text;
  if (!absl::SimpleAtoi(digits, &number) || number < 0 || (percent && number > 100)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: '%s' is neither a count nor a percentage", field, text));
  }
  return percent ? (num_layers * number + 50) / 100 : std::min(number, num_layers);
}

absl::StatusOr<Levels> Levels::Make(const ServerConfig& config, int num_layers, int max_context,
                                    const LevelsFile* file) {
  const PolicyConfig& policy = config.policy;
  Levels levels;
  levels.num_layers_ = num_layers;
  levels.max_context_ = max_context;
  levels.allow_custom_ = policy.allow_custom_skip;
  levels.min_window_ = policy.min_window;
  SKIPSTONE_ASSIGN_OR_RETURN(
      levels.max_skipped_attention_,
      ParseMaximum("policy.max_skipped_attention", policy.max_skipped_attention, num_layers));
  SKIPSTONE_ASSIGN_OR_RETURN(
      levels.max_windowed_attention_,
      ParseMaximum("policy.max_windowed_attention", policy.max_windowed_attention, num_layers));
  levels.has_file_ = file != nullptr;
  if (file != nullptr && file->num_layers != num_layers) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the levels file is of a model of %d layers, this one has %d",
                        file->num_layers, num_layers));
  }
  for (const LevelConfig& level : config.levels) {
    SKIPSTONE_RETURN_IF_ERROR(levels.AddConfigured(level, file));
  }
  if (file != nullptr) {
    for (const CalibratedLevel& level : file->levels) {
      SKIPSTONE_RETURN_IF_ERROR(levels.AddCalibrated(level));
    }
  }
  if (const auto known = levels.Find(config.default_level); !known.ok()) {
    return In("default_level", {absl::StatusCode::kInvalidArgument, known.status().message()});
  }
  for (const LevelPort& port : LevelPortsOf(config.level_listen)) {
    if (const auto known = levels.Find(port.level); !known.ok()) {
      return In("level_listen", {absl::StatusCode::kInvalidArgument, known.status().message()});
    }
  }
  const auto is_default = [&](const Level& level) { return level.name == config.default_level; };
  levels.default_ = std::ranges::find_if(levels.levels_, is_default) - levels.levels_.begin();
  return levels;
}

absl::Status Levels::AddConfigured(const LevelConfig& level, const LevelsFile* file) {
  const std::string field = "levels." + level.name;
  if (!IsLevelName(level.name)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "levels: '%s' is not a level name ([a-z][a-z0-9._-]*; 'none' and 'custom' are reserved)",
        level.name));
  }
  const size_t at = level.spec.find('@');
  auto skip = ParseSkipSet(level.spec.substr(0, at), num_layers_);
  if (skip.ok() && at != std::string::npos) {
    skip = WithMaps(*skip, level.spec.substr(at + 1), file);
  }
  if (!skip.ok()) return In(field, skip.status());
  SKIPSTONE_RETURN_IF_ERROR(CheckPolicy(field, *skip));
  levels_.push_back(Described(level.name, *skip, file));
  return absl::OkStatus();
}

absl::Status Levels::AddCalibrated(const CalibratedLevel& level) {
  if (Find(level.name).ok()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "levels: the level '%s' stands in the configuration and in the levels file", level.name));
  }
  SKIPSTONE_RETURN_IF_ERROR(CheckPolicy("level " + level.name + " of the levels file", level.skip));
  levels_.push_back(Described(level.name, level));
  return absl::OkStatus();
}

std::vector<std::string> Levels::unmeasured() const {
  std::vector<std::string> names;
  for (const Level& level : levels_) {
    if (!level.quality && !level.skips_nothing()) names.push_back(level.name);
  }
  return names;
}

std::string Levels::WhyUnmeasured() const {
  if (!has_file_) return "there is no levels file (--levels), which skipstone-calibrate writes";
  const std::vector<std::string> names = unmeasured();
  if (names.empty()) return "";
  return "the levels file has no quality of: " + absl::StrJoin(names, ", ");
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
  if (spec.find('@') != std::string::npos) {
    return absl::InvalidArgumentError(field +
                                      ": a set of the request's own has no maps ('@'): "
                                      "those belong to levels, which GetModel lists");
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
    return Level{.name = kCustomLevel, .skip = set};
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const SkipSet set, SkipSetOf(skip.layers(), num_layers_));
  SKIPSTONE_RETURN_IF_ERROR(CheckPolicy("skip.layers", set));
  return Level{.name = kCustomLevel, .skip = set};
}

Level Levels::LevelOf(const SkipSet& skip) const {
  for (const Level& level : levels_) {
    if (level.skip == skip) return level;
  }
  return {.name = kCustomLevel, .skip = skip};
}

absl::StatusOr<std::optional<SkipSet>> Levels::Ceiling(const v1::Skip& skip,
                                                       const Level& chosen) const {
  if (!skip.has_adaptive()) return std::nullopt;
  const v1::Adaptive& adaptive = skip.adaptive();
  Level ceiling;
  if (adaptive.ceiling_case() == v1::Adaptive::kCeilingLevel) {
    const auto level = Find(adaptive.ceiling_level());
    if (!level.ok()) return In("skip.adaptive.ceiling_level", level.status());
    ceiling = *level;
  } else if (adaptive.ceiling_case() == v1::Adaptive::kCeilingSpec) {
    SKIPSTONE_RETURN_IF_ERROR(CheckCustom());
    SKIPSTONE_ASSIGN_OR_RETURN(ceiling.skip,
                               Custom("skip.adaptive.ceiling_spec", adaptive.ceiling_spec()));
  } else {
    return absl::InvalidArgumentError("skip.adaptive: a ceiling is wanted");
  }
  // Other maps of the same sublayers save nothing.
  if (ceiling.skip.WithoutMaps() == chosen.skip.WithoutMaps()) return std::nullopt;
  SKIPSTONE_RETURN_IF_ERROR(CheckCeiling(chosen, ceiling));
  return ceiling.skip;
}

}  // namespace skipstone::server
