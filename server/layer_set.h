// The wire's list of layers as a skip set.
#pragma once

#include "absl/status/statusor.h"
#include "engine/skip/skip_set.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

// INVALID_ARGUMENT names field and entry: a layer that the model does not have, more entries than
// layers, a window that is none, or a set that skips every sublayer.
absl::StatusOr<SkipSet> SkipSetOf(const v1::LayerSet& layers, int num_layers);

}  // namespace skipstone::server
