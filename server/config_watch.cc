#include "server/config_watch.h"

#include <sys/stat.h>

#include <utility>

namespace skipstone::server {

ConfigWatch::ConfigWatch(std::string path) : path_(std::move(path)) { taken_ = last_ = Look(); }

std::optional<ConfigWatch::Identity> ConfigWatch::Look() const {
  struct stat file = {};
  if (path_.empty() || stat(path_.c_str(), &file) != 0) return std::nullopt;
  return Identity(file.st_dev, file.st_ino, file.st_size, file.st_mtim.tv_sec,
                  file.st_mtim.tv_nsec);
}

bool ConfigWatch::Changed(Time now) {
  if (now < next_) return false;
  next_ = now + std::chrono::seconds(1);
  const std::optional<Identity> seen = Look();
  const bool rests = seen == std::exchange(last_, seen);
  if (!rests || !seen || seen == taken_) return false;
  taken_ = seen;
  return true;
}

}  // namespace skipstone::server
