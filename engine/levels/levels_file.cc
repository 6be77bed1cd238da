#include "engine/levels/levels_file.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/replace_file.h"
#include "base/status.h"
#include "engine/levels/check_levels.h"
#include "engine/levels/levels_yaml.h"
#include "engine/levels/maps_file.h"
#include "engine/model/json_fields.h"

namespace skipstone {
namespace {

std::string Beside(const std::string& path, const std::string& name) {
  return (std::filesystem::path(path).parent_path() / name).string();
}

// Of `path` with another extension; INVALID_ARGUMENT if that is the same file.
absl::StatusOr<std::string> MapsName(const std::string& path) {
  const std::filesystem::path file = std::filesystem::path(path).filename();
  const std::string name = std::filesystem::path(file).replace_extension(".safetensors").string();
  if (!file.empty() && file.string()[0] != '.' && name != file.string() &&
      std::ranges::none_of(name, [](char c) { return absl::ascii_iscntrl(c); })) {
    return name;
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: a name such as levels.yaml is wanted", path));
}

absl::Status CheckHashes(const LevelsYaml& yaml, const std::string& path,
                         const std::string& maps_path) {
  for (size_t i = 0; i < yaml.file.levels.size(); ++i) {
    const CalibratedLevel& level = yaml.file.levels[i];
    const uint64_t wanted = yaml.map_hashes[i];
    if (wanted == 0 || wanted == level.skip.maps_hash()) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: the maps of level '%s' are others than %s was written with: their "
                        "hash is %016x, not %016x",
                        maps_path, level.name, path, level.skip.maps_hash(), wanted));
  }
  return absl::OkStatus();
}

// That each skip set has the fingerprints of its level's maps and no others.
absl::Status CheckFingerprints(const LevelsFile& file, const std::string& path) {
  for (const CalibratedLevel& level : file.levels) {
    SkipSet skip = level.skip.WithoutMaps();
    for (const LevelMap& map : level.maps) SetMap(map, skip);
    if (skip == level.skip) continue;
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: level '%s': the fingerprints in its skip set are not those of its maps", path,
        level.name));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsLevelName(std::string_view name) {
  const auto is_legal = [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && absl::ascii_islower(name[0]) && std::ranges::all_of(name, is_legal) &&
         name != "none" && name != "custom";
}

absl::StatusOr<LevelsFile> ReadLevelsFile(const std::string& path) {
  SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  SKIPSTONE_ASSIGN_OR_RETURN(LevelsYaml yaml, ParseLevelsYaml(text, path));
  std::string maps_path = path;
  if (!yaml.maps.empty()) {
    maps_path = Beside(path, yaml.maps);
    auto storage = Safetensors::OpenFile(maps_path);
    if (!storage.ok()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: its maps: %s", path, std::string(storage.status().message())));
    }
    SKIPSTONE_RETURN_IF_ERROR(AttachMaps(std::make_shared<const Safetensors>(*std::move(storage)),
                                         maps_path, &yaml.file));
  }
  SKIPSTONE_RETURN_IF_ERROR(CheckLevels(yaml.file, path, maps_path));
  SKIPSTONE_RETURN_IF_ERROR(CheckHashes(yaml, path, maps_path));
  return std::move(yaml.file);
}

absl::Status WriteLevelsFile(const LevelsFile& file, const std::string& path) {
  SKIPSTONE_ASSIGN_OR_RETURN(const std::string maps_name, MapsName(path));
  const std::string maps_path = Beside(path, maps_name);
  SKIPSTONE_RETURN_IF_ERROR(CheckLevels(file, path, maps_path));
  SKIPSTONE_RETURN_IF_ERROR(CheckFingerprints(file, path));
  const bool has_maps = std::ranges::any_of(
      file.levels, [](const CalibratedLevel& level) { return !level.maps.empty(); });
  if (has_maps) {
    MapsBytes bytes = BytesOf(file);
    bytes.data.insert(bytes.data.begin(), bytes.header);
    SKIPSTONE_RETURN_IF_ERROR(ReplaceFile(maps_path, bytes.data));
  }
  // Last: between the two the old text names maps of other hashes, and is refused.
  const std::string text = ToYaml(file, has_maps ? maps_name : "");
  const std::string_view pieces[] = {text};
  return ReplaceFile(path, pieces);
}

}  // namespace skipstone
