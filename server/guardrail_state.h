// What guardrails keep of experiments, for the next start and for other replicas: one JSON file of
// each replica.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/statistics/guardrail.h"

namespace skipstone::server {

struct GuardrailFile {
  // An arm that is off.
  struct Off {
    std::string experiment;
    uint64_t generation = 0;  // of the experiment at its configured weights
    std::string arm;
    std::string why;
    int64_t since_unix_ms = 0;
  };
  // How far a ramp has come.
  struct Step {
    std::string experiment;
    uint64_t generation = 0;  // of the experiment at this step
    int64_t since_unix_ms = 0;
  };
  // What one guardrail has seen.
  struct Sums {
    std::string experiment;
    uint64_t generation = 0;
    std::string arm;
    std::string limit;  // its name
    statistics::GuardrailState state;
  };
  std::vector<Off> off;
  std::vector<Step> steps;
  std::vector<Sums> sums;
};

// Ends with a line end. What is not UTF-8 appears as U+FFFD.
std::string FormatGuardrailFile(const GuardrailFile& file);
// INVALID_ARGUMENT: it is none, or one of another format. Says nothing about the sums' sense.
absl::StatusOr<GuardrailFile> ParseGuardrailFile(const std::string& text);

}  // namespace skipstone::server
