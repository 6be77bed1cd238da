// The latency limits a request must keep to count as good.
#pragma once

#include <limits>
#include <string>

#include "absl/status/statusor.h"
#include "base/workload/request_record.h"

namespace skipstone {

// Seconds; infinite where there is no limit.
struct GoodputLimits {
  double ttft_s = std::numeric_limits<double>::infinity();
  double itl_s = std::numeric_limits<double>::infinity();   // of the longest gap
  double tpot_s = std::numeric_limits<double>::infinity();  // of the mean
  double e2e_s = std::numeric_limits<double>::infinity();

  // Of a request that brought a token.
  bool KeptBy(const RequestRecord& record) const;
};

// "ttft:500,itl:50": any of ttft, itl, tpot, e2e with a limit above 0 in milliseconds.
// INVALID_ARGUMENT names the term.
absl::StatusOr<GoodputLimits> ParseGoodput(const std::string& text);

}  // namespace skipstone
