// What a folder that is given as a model must be, before anything of it is read.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace skipstone {

// NOT_FOUND or INVALID_ARGUMENT, with what is served, unless `dir` is a folder with a config.json.
absl::Status CheckModelFolder(const std::string& dir);

// Whether generation_config.json or config.json of `dir` has an eos_token_id. Null is one: it
// says that there is none.
absl::StatusOr<bool> NamesEosIds(const std::string& dir);

}  // namespace skipstone
