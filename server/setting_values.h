// Forms of a setting's text that no other program has.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/flag_set.h"

namespace skipstone::server {

FlagValue Address(std::string* target);      // HOST:PORT
FlagValue LevelPorts(std::string* target);   // LEVEL=HOST:PORT, more behind commas, or nothing
FlagValue Bytes(int64_t* target);            // 4GiB, 512MiB
FlagValue MetadataKey(std::string* target);  // metadata:KEY, or nothing
FlagValue Switch(bool* target);              // as a flag it needs its value
FlagValue UpTo24h(std::function<void(absl::Duration)> set, std::function<absl::Duration()> get);
struct LevelPort {
  std::string level;
  std::string address;
};
// Of a text that LevelPorts takes.
std::vector<LevelPort> LevelPortsOf(const std::string& text);

template <class D>
FlagValue UpTo24h(D* target) {
  return UpTo24h(
      [=](absl::Duration d) {
        *target = std::chrono::duration_cast<D>(absl::ToChronoNanoseconds(d));
      },
      [=] { return absl::FromChrono(*target); });
}

}  // namespace skipstone::server
