// Arrival traces, as `skipstone bench` reads them: CSV with arrival, prompt tokens, output tokens.
#pragma once

#include <istream>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"

namespace skipstone {

struct TraceRow {
  Duration arrival{};  // after the first row
  int prompt_tokens = 0;
  int output_tokens = 0;
};

// An arrival is in seconds, or a date and time such as "2023-11-16 18:15:46.6805900". The first
// line may be a header. INVALID_ARGUMENT names the line.
absl::StatusOr<std::vector<TraceRow>> ReadTrace(std::istream& in);

}  // namespace skipstone
