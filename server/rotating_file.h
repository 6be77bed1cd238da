// A file of lines that is renamed when it is full, and a few of its predecessors: PATH, PATH.1 ...
// A full disk loses lines, and nothing else: the next are tried again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/log_writer.h"
#include "server/unique_fd.h"

namespace skipstone::server {

// One thread.
class RotatingFile : public LineOutput {
 public:
  // `files`, at least 2, are kept, of about `file_bytes` each.
  RotatingFile(std::string path, int64_t file_bytes, int files);

  // Opens it for appending, unless it is open. Behind a line that is torn, by a crash or a full
  // disk, a new one begins. UNAVAILABLE names path and cause.
  absl::Status Open();
  // Opens and renames where needed. Lines are never parted between files. What a failed write left
  // is taken back.
  bool Write(std::string_view lines, const std::atomic<bool>& closed) override;

 private:
  absl::Status Append(std::string_view lines);
  absl::Status Rotate();

  const std::string path_;
  const int64_t file_bytes_;
  const int files_;
  UniqueFd fd_;
  bool regular_ = false;  // nothing else is renamed or measured
  int64_t bytes_ = 0;
  bool failing_ = false;  // as it was logged
};

}  // namespace skipstone::server
