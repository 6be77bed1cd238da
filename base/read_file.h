// Files that flags name. Any thread may call.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace skipstone {

// The bytes of a file. NOT_FOUND, naming `flag` and the path, if it cannot be read.
absl::StatusOr<std::string> ReadFile(const std::string& flag, const std::string& path);

}  // namespace skipstone
