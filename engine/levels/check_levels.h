// What must hold among the levels of a file, wherever they come from.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/levels/levels_file.h"

namespace skipstone {

// INVALID_ARGUMENT names `path`, level and map (of `maps_path`): names that are none or there
// twice, a skip set of another number of layers, a level outside its family's nesting, a map that
// is malformed, there twice, of a sublayer that is kept or of a level without compensation, a
// number that is NaN or infinite. The fingerprints in skip sets are not compared with the maps.
absl::Status CheckLevels(const LevelsFile& file, const std::string& path,
                         const std::string& maps_path);

}  // namespace skipstone
