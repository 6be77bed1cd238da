#include "engine/model/read_file.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace skipstone {
namespace {

constexpr uintmax_t kMaxBytes = 64u << 20;

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(absl::StrFormat("there is no file %s", path));
  }
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::InvalidArgumentError(absl::StrFormat("%s is not a regular file", path));
  }
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s cannot be read or is larger than %d bytes", path, kMaxBytes));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) {
    return absl::InvalidArgumentError(absl::StrFormat("%s cannot be read", path));
  }
  return text;
}

}  // namespace skipstone
