// The exposure logs that a command line names.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/experiment/report/report_data.h"

namespace skipstone::client {

// INVALID_ARGUMENT if there is none.
absl::Status CheckLogs(const std::vector<std::string>& paths);

// All logs as one, by time. NOT_FOUND names a file that cannot be read, INVALID_ARGUMENT one of
// which no line is a record, with its first line that is none.
absl::StatusOr<experiment::ExposureReport> ReadReport(const std::vector<std::string>& paths,
                                                      const experiment::ReportOptions& options);

}  // namespace skipstone::client
