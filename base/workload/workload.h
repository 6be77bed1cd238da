// The requests of a load test or a simulation in the order in which they arrive: a trace's, or
// generated ones. Everything is drawn from one seed. Arrivals, lengths, parts of the mix and
// prefixes come from generators of their own, so that two runs which differ in one of them agree in
// the others.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/workload/length_distribution.h"
#include "base/workload/trace.h"

namespace skipstone {

// What requests of a workload ask for: weighted parts, drawn at random.
struct MixPart {
  std::string name;  // as it was written: a level or a skip spec
  double weight = 1;
};

// Parts are separated by ';', a weight (> 0) follows '@'. INVALID_ARGUMENT names the part.
//
//   "full@50;attn:last=33%@50"    half of the requests each
//   "none;block:last=2"           the same, with weight 1 each
absl::StatusOr<std::vector<MixPart>> ParseMix(const std::string& text);

// Index of a part, drawn by weight.
int DrawPart(const std::vector<MixPart>& mix, std::mt19937_64& random);

struct PlannedRequest {
  Duration arrival{};  // after the start of the run
  int prompt_tokens = 0;
  int output_tokens = 0;
  int part = 0;           // index into the mix
  int prefix = -1;        // which common prefix the prompt begins with; -1: none
  int prefix_tokens = 0;  // of the prompt
  uint64_t seed = 0;      // of the other tokens

  // Made up, of 31 bits; equal for equal positions of a common prefix, else different.
  std::vector<int32_t> PromptTokens() const;
};

struct WorkloadOptions {
  std::vector<TraceRow> trace;       // empty: generated
  double time_scale = 1;             // of the trace's arrivals; 0: all come at once
  std::optional<uint64_t> requests;  // no more than these
  std::optional<Duration> duration;  // no arrivals from then on
  std::optional<double> rate;        // generated: requests/s, Poisson; unset: closed loop
  LengthDistribution prompt;         // generated
  LengthDistribution output;
  int context = 4096;  // output is cut to context - 1, the prompt to what is left; at least 2
  double prefix_fraction = 0;  // of the requests begin with a common prefix
  int prefixes = 1;            // that there are, all equally likely
  int prefix_tokens = 0;       // of each; a shorter prompt is the prefix's beginning
  uint64_t seed = 1;
};

// One thread.
class Workload {
 public:
  Workload(WorkloadOptions options, std::vector<MixPart> mix);

  // The next request, or nothing when the workload is over. Closed loop: it arrives at `now`.
  std::optional<PlannedRequest> Next(Duration now = {});

  bool open_loop() const { return options_.rate.has_value() || !options_.trace.empty(); }
  // Requests so far that were longer than the context.
  int64_t shortened() const { return shortened_; }

 private:
  void FitContext(PlannedRequest& request);

  const WorkloadOptions options_;
  const std::vector<MixPart> mix_;
  std::mt19937_64 arrivals_;
  std::mt19937_64 lengths_;
  std::mt19937_64 part_choices_;
  std::mt19937_64 prefix_choices_;
  uint64_t drawn_ = 0;
  int64_t shortened_ = 0;
  double seconds_ = 0;  // the last generated arrival
};

}  // namespace skipstone
