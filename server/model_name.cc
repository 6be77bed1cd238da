#include "server/model_name.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_replace.h"

namespace skipstone::server {
namespace {

constexpr char kCachePrefix[] = "models--";

// Absolute, without "." and ".." and without a slash at the end.
std::filesystem::path RealPath(const std::string& model) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path path;
  for (const fs::path& part : fs::path(model)) {
    path /= part;
    if (part != "..") continue;
    // A symbolic link has the name that somebody gave it, unless the path goes up from it.
    if (fs::path real = fs::weakly_canonical(path, error); !error) path = real;
  }
  if (fs::path absolute = fs::absolute(path, error); !error) path = absolute.lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

std::string ServedNameOf(const std::string& name, const std::string& model) {
  if (!name.empty()) return name;
  if (model.empty() || model.starts_with("synthetic:")) return model;
  const std::filesystem::path path = RealPath(model);
  // .../models--OWNER--NAME/snapshots/REVISION
  const std::string repository = path.parent_path().parent_path().filename().string();
  if (path.parent_path().filename() == "snapshots" && repository.starts_with(kCachePrefix)) {
    return absl::StrReplaceAll(repository.substr(sizeof(kCachePrefix) - 1), {{"--", "/"}});
  }
  const std::string last = path.filename().string();
  return last.empty() ? model : last;
}

}  // namespace skipstone::server
