// How far the load may move a request away from the level that it chose.
#pragma once

#include "absl/status/status.h"
#include "server/levels.h"

namespace skipstone::server {

// INVALID_ARGUMENT names the sublayer of which `ceiling` leaves more, or another window, than
// `chosen`; or why it may not follow a choice with maps: it is of another family, or has none where
// the choice does not shed to identity; or a map that both have below the last attention that the
// ceiling keeps is another, so that shedding would end at a set that nobody has measured.
absl::Status CheckCeiling(const Level& chosen, const Level& ceiling);

}  // namespace skipstone::server
