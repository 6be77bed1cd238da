// Arrival traces: when requests came, and how long they were.
#pragma once

#include <istream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"

namespace skipstone {

struct TraceRow {
  Duration arrival{};  // after the first row
  int prompt_tokens = 0;
  int output_tokens = 0;
};

// CSV: arrival, prompt tokens, output tokens. Arrival is in seconds, or a date and time such as
// "2023-11-16 18:15:46.6805900" (the Azure LLM inference traces). A first line whose numbers cannot
// be read is taken as a header. Arrivals must not go back. INVALID_ARGUMENT names the line.
absl::StatusOr<std::vector<TraceRow>> ReadTrace(std::istream& in);

// NOT_FOUND or INVALID_ARGUMENT name the flag --trace and the file.
absl::StatusOr<std::vector<TraceRow>> ReadTraceFile(const std::string& path);

}  // namespace skipstone
