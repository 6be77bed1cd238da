// The text part of a levels file: everything but the maps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/levels/levels_file.h"

namespace skipstone {

struct LevelsYaml {
  LevelsFile file;                   // without maps
  std::string maps;                  // name of the file beside it that holds them; empty: none
  std::vector<uint64_t> map_hashes;  // of each level as its `skip` says after '@'; 0: it does not
};

// INVALID_ARGUMENT names `name` and line.
absl::StatusOr<LevelsYaml> ParseLevelsYaml(const std::string& text, const std::string& name);
// Of a file that CheckLevels accepts. Numbers are written so that they are read as they were.
std::string ToYaml(const LevelsFile& file, const std::string& maps);

}  // namespace skipstone
