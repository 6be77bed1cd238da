#include "server/rotating_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "server/logging.h"

namespace skipstone::server {
namespace {

// A volume that takes nothing for so long has failed.
constexpr Duration kMostOfAWrite = std::chrono::seconds(30);

absl::Status Failed(const char* what, const std::string& path) {
  return absl::UnavailableError(absl::StrFormat("cannot %s %s: %s", what, path, strerror(errno)));
}

}  // namespace

RotatingFile::RotatingFile(std::string path, int64_t file_bytes, int files)
    : path_(std::move(path)), file_bytes_(file_bytes), files_(files) {}

absl::Status RotatingFile::Open() {
  if (fd_.get() >= 0) return absl::OkStatus();
  // Readable for the last byte; and a pipe without a reader opens.
  UniqueFd fd(open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
  struct stat status {};
  if (fd.get() < 0 || fstat(fd.get(), &status) != 0) return Failed("open", path_);
  regular_ = S_ISREG(status.st_mode);
  bytes_ = regular_ ? status.st_size : 0;
  char last = '\n';
  if (bytes_ > 0 && pread(fd.get(), &last, 1, bytes_ - 1) != 1) return Failed("read", path_);
  if (last != '\n') {
    if (!WriteWithin(fd.get(), "\n", kMostOfAWrite)) return Failed("write", path_);
    ++bytes_;
  }
  fd_ = std::move(fd);
  return absl::OkStatus();
}

absl::Status RotatingFile::Rotate() {
  fd_.Reset(-1);
  const auto name = [&](int age) { return age == 0 ? path_ : absl::StrCat(path_, ".", age); };
  for (int age = files_ - 1; age > 0; --age) {
    if (rename(name(age - 1).c_str(), name(age).c_str()) != 0 && errno != ENOENT) {
      return Failed("rename", name(age - 1));
    }
  }
  return Open();
}

absl::Status RotatingFile::Append(std::string_view lines) {
  SKIPSTONE_RETURN_IF_ERROR(Open());
  const auto size = static_cast<int64_t>(lines.size());
  if (regular_ && bytes_ > 0 && bytes_ + size > file_bytes_) SKIPSTONE_RETURN_IF_ERROR(Rotate());
  if (WriteWithin(fd_.get(), lines, kMostOfAWrite)) {
    bytes_ += size;
    return absl::OkStatus();
  }
  absl::Status failed = Failed("write", path_);
  // Where even that fails, the line stays torn, which the next Open and every reader see.
  if (!regular_ || ftruncate(fd_.get(), bytes_) != 0) fd_.Reset(-1);
  return failed;
}

bool RotatingFile::Write(std::string_view lines, const std::atomic<bool>&) {
  const absl::Status status = Append(lines);
  if (std::exchange(failing_, !status.ok()) == status.ok()) {
    LogEvent(status.ok() ? Severity::kInfo : Severity::kError, "exposure log",
             {{"file", path_}, {"status", status.ToString()}});
  }
  return status.ok();
}

}  // namespace skipstone::server
