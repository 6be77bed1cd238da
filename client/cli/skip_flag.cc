#include "client/cli/skip_flag.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace skipstone::client {
namespace {

bool IsLevelName(const std::string& text) {
  if (text.empty() || text == "none" || !absl::ascii_islower(text[0])) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '.' || c == '_' || c == '-';
  });
}

}  // namespace

v1::Skip SkipFromText(const std::string& text) {
  v1::Skip skip;
  if (IsLevelName(text)) {
    skip.set_level(text);
  } else {
    skip.set_spec(text);
  }
  return skip;
}

v1::Adaptive CeilingFromText(const std::string& text) {
  v1::Adaptive adaptive;
  if (IsLevelName(text)) {
    adaptive.set_ceiling_level(text);
  } else {
    adaptive.set_ceiling_spec(text);
  }
  return adaptive;
}

}  // namespace skipstone::client
