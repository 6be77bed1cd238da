// Writes a file so that whoever opens it finds the old one or the new one, whole.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace skipstone {

// The pieces, one behind the other, by way of a file of its own name beside `path`: others may
// write at the same time. The bytes are on the disk before the name is. UNAVAILABLE names path and
// cause; then `path` is what it was.
absl::Status ReplaceFile(const std::string& path, std::span<const std::string_view> pieces);
inline absl::Status ReplaceFile(const std::string& path, std::string_view bytes) {
  return ReplaceFile(path, std::span(&bytes, 1));
}

}  // namespace skipstone
