// The latency limits a request must keep to count as good.
#pragma once

#include <limits>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/request_record.h"

namespace skipstone::client {

// Milliseconds; infinite where there is no limit.
struct GoodputLimits {
  double ttft_ms = std::numeric_limits<double>::infinity();
  double itl_ms = std::numeric_limits<double>::infinity();   // of the longest gap
  double tpot_ms = std::numeric_limits<double>::infinity();  // of the mean
  double e2e_ms = std::numeric_limits<double>::infinity();

  // A failed request keeps no limit.
  bool KeptBy(const RequestRecord& record) const;
};

// "ttft:500,itl:50": any of ttft, itl, tpot, e2e with a limit above 0. Errors name the term.
absl::StatusOr<GoodputLimits> ParseGoodput(const std::string& text);

}  // namespace skipstone::client
