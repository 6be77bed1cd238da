#include "engine/levels/check_levels.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/levels/maps_file.h"

namespace skipstone {
namespace {

// A word that YAML takes as it stands, and that a skip's text may have behind '@'.
bool IsWord(std::string_view text) {
  const auto is_legal = [](char c) {
    return absl::ascii_isalnum(c) || std::string_view("-._=+").find(c) != std::string_view::npos;
  };
  return !text.empty() && absl::ascii_isalnum(text[0]) && std::ranges::all_of(text, is_legal);
}

bool IsFinite(const Measured& m) {
  return std::isfinite(m.value) && std::isfinite(m.low) && std::isfinite(m.high);
}
bool IsFinite(const std::optional<Measured>& m) { return !m || IsFinite(*m); }
bool IsFinite(const std::optional<double>& number) { return !number || std::isfinite(*number); }

// Why the level is none; empty: it is one.
std::string ErrorOf(const CalibratedLevel& level, int num_layers) {
  if (!IsLevelName(level.name)) {
    return "it is no name of a level ([a-z][a-z0-9._-]*; 'none' and 'custom' are reserved)";
  }
  if (level.skip.num_layers() != num_layers) {
    return absl::StrFormat("its skip set is of %d layers, the model has %d",
                           level.skip.num_layers(), num_layers);
  }
  if (level.skip.SkipsEverything()) return "every sublayer of the model is skipped";
  if (!IsWord(level.family)) return absl::StrFormat("family: '%s' is no word", level.family);
  if (!level.compensation.empty() && !IsWord(level.compensation)) {
    return absl::StrFormat("compensation: '%s' is no word", level.compensation);
  }
  if (level.maps.empty() && !level.compensation.empty()) {
    return absl::StrFormat("compensation is '%s', but there is no map", level.compensation);
  }
  if (!level.maps.empty() && level.compensation.empty()) return "it has maps, but no compensation";
  std::string wrong;
  if (level.quality) {
    ForEachMeasure(*level.quality, [&](const char* name, const auto& measure) {
      if (!IsFinite(measure)) wrong = absl::StrFormat("quality: %s is not finite", name);
    });
  }
  const bool finite = IsFinite(level.decode_ms_saved) && IsFinite(level.pages_saved);
  return finite ? wrong : "saved: a number is not finite";
}

bool Keeps(const SkipSet& skip, const LevelMap& map) {
  return map.sublayer == Sublayer::kAttention ? skip.KeepsAttention(map.layer)
                                              : skip.KeepsMlp(map.layer);
}

absl::Status CheckMaps(const CalibratedLevel& level, const LevelsFile& file) {
  std::set<std::tuple<int, Sublayer>> seen;
  for (const LevelMap& map : level.maps) {
    const auto error = [&](const char* why) {
      return absl::InvalidArgumentError(
          absl::StrFormat("the map '%s' %s", NameOf(level, map), why));
    };
    if (map.layer < 0 || map.layer >= file.num_layers) return error("is of no layer of the model");
    if (Keeps(level.skip, map)) return error("is of a sublayer that the level keeps");
    if (!seen.insert({map.layer, map.sublayer}).second) return error("is there twice");
    SKIPSTONE_RETURN_IF_ERROR(CheckMap(map.tensors, file.hidden, NameOf(level, map)));
  }
  return absl::OkStatus();
}

// The level before `level` of its family that neither contains it nor lies in it; null: there is
// none.
const CalibratedLevel* Apart(const std::vector<CalibratedLevel>& levels,
                             const CalibratedLevel& level) {
  for (const CalibratedLevel& other : levels) {
    if (&other == &level) break;
    if (other.family != level.family) continue;
    if (!other.skip.Contains(level.skip) && !level.skip.Contains(other.skip)) return &other;
  }
  return nullptr;
}

}  // namespace

absl::Status CheckLevels(const LevelsFile& file, const std::string& path,
                         const std::string& maps_path) {
  const auto error = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: %s", path, why));
  };
  if (file.num_layers < 1 || file.num_layers > kMaxLayers || file.hidden < 1) {
    return error(absl::StrFormat("a model of %d layers and hidden size %d is not served",
                                 file.num_layers, file.hidden));
  }
  if (!IsWord(file.ranker)) return error(absl::StrFormat("ranker: '%s' is no word", file.ranker));
  if (file.levels.empty()) return error("there is no level");
  std::set<std::string_view> names;
  for (const CalibratedLevel& level : file.levels) {
    std::string why = ErrorOf(level, file.num_layers);
    if (!names.insert(level.name).second) why = "the name is there twice";
    if (!why.empty()) return error(absl::StrFormat("level '%s': %s", level.name, why));
    if (const CalibratedLevel* const other = Apart(file.levels, level)) {
      return error(absl::StrFormat(
          "level '%s', %s, and level '%s', %s, are of the family '%s', but neither contains the "
          "other",
          level.name, level.skip.WithoutMaps().ToString(), other->name,
          other->skip.WithoutMaps().ToString(), level.family));
    }
    if (const absl::Status maps = CheckMaps(level, file); !maps.ok()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: %s", maps_path, std::string(maps.message())));
    }
  }
  return absl::OkStatus();
}

}  // namespace skipstone
