// Tells when a file has changed: in place, or, as a ConfigMap's files do, by a link that leads
// elsewhere.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include "base/clock.h"

namespace skipstone::server {

// One thread.
class ConfigWatch {
 public:
  // Without a path nothing changes.
  explicit ConfigWatch(std::string path);

  // Looks once a second. True once for each change, when the file has then been the same for a
  // second: who writes in place may be halfway.
  bool Changed(Time now);

 private:
  using Identity = std::tuple<dev_t, ino_t, off_t, int64_t, int64_t>;  // with mtime, s and ns
  std::optional<Identity> Look() const;                                // nothing: it cannot be read

  const std::string path_;
  std::optional<Identity> taken_, last_;
  Time next_{};
};

}  // namespace skipstone::server
