// Small files of a model directory, read whole.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace skipstone {

// NOT_FOUND if there is no such file; INVALID_ARGUMENT if it is no regular file, cannot be read,
// or is larger than 64 MiB (the index of a 70B checkpoint has 67 KB, a tokenizer.model 0.5 MB).
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace skipstone
