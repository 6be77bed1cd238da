// Asks a Prometheus server.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace skipstone::client {

struct PrometheusSeries {
  std::map<std::string, std::string> labels;
  std::vector<std::pair<int64_t, double>> points;  // (Unix milliseconds, value), ascending
};

struct PrometheusRange {
  absl::Time begin;  // of the first value
  absl::Time end;    // of the last value, at most
  absl::Duration step;
};

// The values of `query` at begin, begin + step, ... of the server at `url` ("http://HOST:PORT",
// with a path where a proxy wants one). Blocks, at most a minute. UNAVAILABLE: no answer;
// INVALID_ARGUMENT: what the server says of the query, or an answer that is none of Prometheus.
absl::StatusOr<std::vector<PrometheusSeries>> QueryPrometheus(const std::string& url,
                                                              const std::string& query,
                                                              const PrometheusRange& range);

// The answer's text as series; errors as above. For tests.
absl::StatusOr<std::vector<PrometheusSeries>> ParsePrometheusAnswer(const std::string& text);

}  // namespace skipstone::client
