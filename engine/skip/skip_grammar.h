// The text form of skip sets (flags, configuration files, the `spec` field on the wire):
// "attn:last=33%+mlp:30". SEMANTICS.md has the grammar.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

// INVALID_ARGUMENT names the offending term, the number of layers and the grammar. A set that
// skips every sublayer of the model is an error.
absl::StatusOr<SkipSet> ParseSkipSet(std::string_view text, int num_layers);

// Skip sets separated by ';', as flags take them. Empty parts are errors.
absl::StatusOr<std::vector<SkipSet>> ParseSkipList(std::string_view text, int num_layers);

}  // namespace skipstone
