#include "client/cli/exposure_logs.h"

#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/experiment/report/report_builder.h"

namespace skipstone::client {

absl::Status CheckLogs(const std::vector<std::string>& paths) {
  if (!paths.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("expected one or more exposure logs: LOG...");
}

absl::StatusOr<experiment::ExposureReport> ReadReport(const std::vector<std::string>& paths,
                                                      const experiment::ReportOptions& options) {
  std::deque<std::ifstream> files;
  std::vector<experiment::NamedLog> logs;
  for (const std::string& path : paths) {
    std::error_code error;
    // A folder can be opened too, and has no line.
    const bool is_folder = std::filesystem::is_directory(path, error);
    std::ifstream& file = files.emplace_back(path, std::ios::binary);
    if (is_folder || !file) {
      return absl::NotFoundError(
          absl::StrFormat("LOG: \"%s\": %s", path, std::strerror(is_folder ? EISDIR : errno)));
    }
    logs.push_back({file, path});
  }
  experiment::ReportBuilder builder(options);
  experiment::ExposureCounts counts;
  experiment::MergeExposures(
      logs, [&](const experiment::ExposureRecord& record) { builder.Add(record); }, counts);
  if (counts.records == 0 && counts.refused > 0) {
    return absl::InvalidArgumentError(absl::StrFormat("LOG: %s", counts.errors.front()));
  }
  return builder.Finish(counts);
}

}  // namespace skipstone::client
