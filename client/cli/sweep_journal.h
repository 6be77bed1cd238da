// The results of a sweep on disk, one JSON line each behind a line that says of what they are, so
// that a sweep which was interrupted goes on where it was.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "client/cli/sweep_results.h"

namespace skipstone::client {

// Not thread-safe.
class SweepJournal {
 public:
  // Keeps nothing: for a sweep that is not to be gone on with.
  SweepJournal() = default;

  // `header`: an object, equal for sweeps whose results may be mixed. A file that is not there is
  // begun. One that is there is gone on with if `resume`: its results are put into `results`; a
  // last line that was not finished is cut off. Errors: ALREADY_EXISTS without `resume`;
  // FAILED_PRECONDITION if the file is of another header, naming what differs; DATA_LOSS for a
  // line that is no result; those of the file system.
  static absl::StatusOr<SweepJournal> Open(const std::string& path, const nlohmann::json& header,
                                           bool resume, SweepResults& results);

  // In the file when it returns.
  absl::Status Append(const SweepKey& key, const SweepResult& result);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  absl::Status WriteLine(const nlohmann::json& json);

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace skipstone::client
