// Arrival traces: when requests came, and how long they were.
#pragma once

#include <cstdint>
#include <istream>
#include <vector>

#include "absl/status/statusor.h"

namespace skipstone::client {

struct TraceRow {
  double arrival_s = 0;  // after the first row
  uint32_t prompt_tokens = 0;
  uint32_t output_tokens = 0;
};

// CSV: arrival, prompt tokens, output tokens. Arrival is in seconds, or a date and time such as
// "2023-11-16 18:15:46.6805900" (the Azure LLM inference traces). A first line whose numbers cannot
// be read is taken as a header. Arrivals must not go back. Errors name the line.
absl::StatusOr<std::vector<TraceRow>> ParseTrace(std::istream& in);

}  // namespace skipstone::client
