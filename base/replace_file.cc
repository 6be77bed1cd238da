#include "base/replace_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_format.h"

namespace skipstone {
namespace {

bool WriteAll(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

absl::Status Unavailable(const char* what, const std::string& path) {
  return absl::UnavailableError(absl::StrFormat("%s %s: %s", what, path, std::strerror(errno)));
}

}  // namespace

absl::Status ReplaceFile(const std::string& path, std::span<const std::string_view> pieces) {
  std::string temporary = path + ".XXXXXX";
  const int file = mkostemp(temporary.data(), O_CLOEXEC);
  if (file < 0) return Unavailable("cannot create", temporary);
  constexpr mode_t kReadableByAll = 0644;
  bool good = fchmod(file, kReadableByAll) == 0 &&
              std::ranges::all_of(pieces, [&](auto piece) { return WriteAll(file, piece); }) &&
              fsync(file) == 0;
  good = close(file) == 0 && good;
  if (good && rename(temporary.c_str(), path.c_str()) == 0) return absl::OkStatus();
  absl::Status failed = Unavailable("cannot write", path);
  unlink(temporary.c_str());
  return failed;
}

}  // namespace skipstone
