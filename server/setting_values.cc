#include "server/setting_values.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace skipstone::server {
namespace {

const std::pair<const char*, double> kUnits[] = {{"TiB", 1024.0 * 1024 * 1024 * 1024},
                                                 {"GiB", 1024.0 * 1024 * 1024},
                                                 {"MiB", 1024.0 * 1024},
                                                 {"KiB", 1024.0},
                                                 {"B", 1.0}};

std::string BytesText(int64_t bytes) {
  for (const auto& [unit, scale] : kUnits) {
    if (bytes % static_cast<int64_t>(scale) != 0) continue;
    return absl::StrFormat("%d%s", bytes / static_cast<int64_t>(scale), unit);
  }
  return "";
}

bool ReadBytes(const std::string& text, int64_t* bytes) {
  double scale = 1;
  std::string digits = text;
  for (const auto& [suffix, unit] : kUnits) {
    if (!text.ends_with(suffix)) continue;
    digits = text.substr(0, text.size() - std::string(suffix).size());
    scale = unit;
    break;
  }
  double number = 0;
  if (!absl::SimpleAtod(digits, &number) || !(number * scale >= 1) || number * scale > 1e15) {
    return false;
  }
  *bytes = static_cast<int64_t>(number * scale);
  return true;
}

bool IsMetadataKey(const std::string& text) {
  constexpr std::string_view kMetadata = "metadata:";
  const auto legal = [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  };
  return text.empty() || (text.starts_with(kMetadata) && text.size() > kMetadata.size() &&
                          std::all_of(text.begin() + kMetadata.size(), text.end(), legal));
}

// The address that READY prints must be one that a client can dial: IPv6 in brackets.
bool IsAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  const std::string host = text.substr(0, colon);
  const bool brackets = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
  int port = -1;
  return (brackets || host.find_first_of("[]:") == std::string::npos) &&
         absl::SimpleAtoi(text.substr(colon + 1), &port) && port >= 0 && port <= 65535;
}

bool AreLevelPorts(const std::string& text) {
  std::set<std::string> levels;
  for (const LevelPort& port : LevelPortsOf(text)) {
    if (port.level.empty() || !IsAddress(port.address)) return false;
    if (!levels.insert(port.level).second) return false;
  }
  return true;
}

}  // namespace

std::vector<LevelPort> LevelPortsOf(const std::string& text) {
  std::vector<LevelPort> ports;
  if (text.empty()) return ports;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<std::string, std::string> port =
        absl::StrSplit(absl::StripAsciiWhitespace(part), absl::MaxSplits('=', 1));
    ports.push_back({port.first, port.second});
  }
  return ports;
}

FlagValue LevelPorts(std::string* target) {
  return Checked(target, "LEVEL=HOST:PORT, more behind commas, each level once", AreLevelPorts);
}

FlagValue Address(std::string* target) {
  return Checked(target, "HOST:PORT, IPv6 in brackets", IsAddress);
}

FlagValue Bytes(int64_t* target) {
  return {.wanted = "an amount of memory, such as 4GiB or 512MiB",
          .read = [target](const std::string& text) { return ReadBytes(text, target); },
          .write = [target] { return BytesText(*target); }};
}

FlagValue MetadataKey(std::string* target) {
  return Checked(target, "metadata:KEY, a key of letters, digits, '-', '_' and '.'", IsMetadataKey);
}

FlagValue Switch(bool* target) {
  FlagValue value = ValueOf(target);
  value.is_bool = false;
  return value;
}

FlagValue UpTo24h(std::function<void(absl::Duration)> set, std::function<absl::Duration()> get) {
  return {.wanted = "a duration up to 24h, such as 30s or 500ms",
          .read =
              [set](const std::string& text) {
                absl::Duration duration;
                if (!absl::ParseDuration(text, &duration) || duration < absl::ZeroDuration() ||
                    duration > absl::Hours(24)) {
                  return false;
                }
                set(duration);
                return true;
              },
          .write = [get] { return absl::FormatDuration(get()); }};
}

}  // namespace skipstone::server
