// Brings the maps of a levels file to the backend of the model that they were fitted for.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/levels/levels_file.h"
#include "engine/model/weights.h"
#include "engine/skip/sublayer_maps.h"

namespace skipstone {

// Adds each distinct map of a sublayer once to the backend, to `weights` and to `maps` (made
// [num_layers] if it is empty), before pages are allocated. The CPU keeps views: `file` must
// outlive the backend. Errors: INVALID_ARGUMENT if the file is of another model (names both
// fingerprints), RESOURCE_EXHAUSTED, UNIMPLEMENTED.
absl::Status LoadMaps(const LevelsFile& file, uint64_t model_fingerprint, Backend& backend,
                      Weights* weights, std::vector<LayerMaps>* maps);

}  // namespace skipstone
