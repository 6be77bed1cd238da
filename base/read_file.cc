#include "base/read_file.h"

#include <array>
#include <fstream>

#include "absl/strings/str_format.h"

namespace skipstone {

absl::StatusOr<std::string> ReadFile(const std::string& flag, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  std::array<char, 4096> buffer;
  // read() turns the exception of a folder's stream into a state, an iterator does not.
  while (file.read(buffer.data(), buffer.size()) || file.gcount() > 0) {
    text.append(buffer.data(), file.gcount());
  }
  if (!file.is_open() || file.bad()) {
    return absl::NotFoundError(absl::StrFormat("%s: cannot read \"%s\"", flag, path));
  }
  return text;
}

}  // namespace skipstone
