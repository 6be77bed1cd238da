// Errors that say where in a request or file they are.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace skipstone::server {

// An error of `field`, its code kept.
inline absl::Status In(const std::string& field, const absl::Status& error) {
  return {error.code(), absl::StrFormat("%s: %s", field, std::string(error.message()))};
}

}  // namespace skipstone::server
