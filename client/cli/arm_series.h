// The traffic of experiments' arms, as Prometheus has kept it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/experiment/report/arm_traffic.h"
#include "base/experiment/report/report_data.h"
#include "client/cli/prometheus.h"

namespace skipstone::client {

// Answers a query of Prometheus, as QueryPrometheus does.
using AskPrometheus =
    std::function<absl::StatusOr<std::vector<PrometheusSeries>>(const std::string& query)>;

// What `ask` answers of all servers' series together, by time and arm: each a span of time, without
// those in which an arm had no request. `experiment`: its name; empty: of all. The errors of `ask`.
absl::StatusOr<std::vector<experiment::ArmTraffic>> ReadArmTraffic(const std::string& experiment,
                                                                   absl::Duration span,
                                                                   const AskPrometheus& ask);

struct PrometheusSource {
  static constexpr int kMostSpans = 10000;  // Prometheus answers no more

  std::string url;         // empty: it is not asked
  std::string experiment;  // empty: all
  absl::Duration last = absl::Hours(24);
  absl::Duration span = absl::Minutes(5);

  absl::Status Check() const;  // INVALID_ARGUMENT names the flag
};

// Until now. The errors of QueryPrometheus.
absl::StatusOr<experiment::ExposureReport> ReadReport(const PrometheusSource& source,
                                                      const experiment::ReportOptions& options);

}  // namespace skipstone::client
