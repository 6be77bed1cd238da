// What an arm's requests came to in a span of time, where requests are not known one by one: the
// sums that metrics keep.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <string>

#include "base/experiment/report/request_sums.h"

namespace skipstone::experiment {

struct ArmTraffic {
  // What is not known of requests.
  static constexpr double kUnknown = NAN;

  std::string experiment;
  std::string arm;
  int64_t time_unix_ms = 0;  // of its end
  std::map<std::string, int64_t> outcomes;
  WindowSums sums = {};
};

}  // namespace skipstone::experiment
