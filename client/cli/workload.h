// The requests of a benchmark in the order in which they arrive. Draws everything from one seed, so
// that two runs with the same options ask for the same.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/request_mix.h"
#include "client/cli/trace.h"

namespace skipstone::client {

// A number of tokens, drawn evenly from [min, max].
struct TokenRange {
  uint32_t min = 1;
  uint32_t max = 1;
};

// "128" or "64-256"; 1 <= min <= max. Errors name the flag.
absl::StatusOr<TokenRange> ParseTokenRange(const std::string& flag, const std::string& text);

struct PlannedRequest {
  double arrival_s = 0;  // after the start of the run
  uint32_t prompt_tokens = 0;
  uint32_t output_tokens = 0;
  size_t part = 0;    // index into the mix
  uint64_t seed = 0;  // of the prompt's tokens
};

struct WorkloadOptions {
  std::optional<double> rate;   // requests/s, Poisson; unset, without a trace: closed loop
  std::vector<TraceRow> trace;  // empty: none
  double time_scale = 1;        // the trace's arrival times are multiplied by it
  TokenRange prompt_tokens;     // without a trace
  TokenRange output_tokens;
  std::optional<uint64_t> max_requests;
  std::optional<double> max_seconds;  // no arrivals after this
  uint32_t max_context_tokens = 0;    // prompts are shortened to fit
  uint64_t seed = 0;
};

// One thread.
class Workload {
 public:
  Workload(WorkloadOptions options, std::vector<MixPart> mix);

  // The next request, or nothing when the workload is over. Closed loop: it arrives at `now_s`.
  std::optional<PlannedRequest> Next(double now_s);

  bool open_loop() const { return options_.rate.has_value() || !options_.trace.empty(); }
  const std::vector<MixPart>& mix() const { return mix_; }
  // Requests so far that were longer than the model's context.
  uint64_t shortened() const { return shortened_; }

 private:
  void FitContext(PlannedRequest& request);

  const WorkloadOptions options_;
  const std::vector<MixPart> mix_;
  std::mt19937_64 random_;
  uint64_t num_requests_ = 0;
  double last_arrival_s_ = 0;
  uint64_t shortened_ = 0;
};

}  // namespace skipstone::client
