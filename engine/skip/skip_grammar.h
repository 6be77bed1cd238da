// The text form of skip sets (flags, configuration files, the `spec` field on the wire):
// "attn:last=33%+win:0-9/64+mlp:30". SEMANTICS.md has the grammar.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

// INVALID_ARGUMENT names the offending term, the number of layers and the grammar. A set that
// skips every sublayer of the model is an error.
absl::StatusOr<SkipSet> ParseSkipSet(std::string_view text, int num_layers);

// Windows the attention of a layer of the model. INVALID_ARGUMENT says why it cannot be: no window
// is of so many tokens, the layer is skipped, or its window is another.
absl::Status AddWindow(SkipSet& skip, int layer, int64_t tokens);

// Skip sets separated by ';', as flags take them. Empty parts are errors.
absl::StatusOr<std::vector<SkipSet>> ParseSkipList(std::string_view text, int num_layers);

}  // namespace skipstone
