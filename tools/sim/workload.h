// The requests that a simulated fleet gets, in order of arrival: a trace's, or generated ones.
// Everything is drawn from one seed. Arrivals, lengths, levels and prefixes come from generators of
// their own, so that two runs which differ in one of them agree in the others.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "engine/skip/skip_set.h"
#include "tools/sim/length_distribution.h"
#include "tools/sim/trace.h"

namespace skipstone {

struct Level {
  std::string name;  // as it was written
  SkipSet skip;
  double weight = 1;
};

// Skip sets separated by ';', each with an optional weight behind '@': "none@50;attn:last=33%@50".
// INVALID_ARGUMENT names the part.
absl::StatusOr<std::vector<Level>> ParseLevels(const std::string& text, int num_layers);

struct SimRequest {
  Time arrival{};
  int prompt_tokens = 0;
  int output_tokens = 0;
  int level = 0;          // index into the levels
  int prefix = -1;        // which common prefix the prompt begins with; -1: none
  int prefix_tokens = 0;  // of the prompt
  uint64_t seed = 0;      // of the other tokens

  // Made up; equal for equal positions of a common prefix, else different.
  std::vector<int32_t> PromptTokens() const;
};

struct WorkloadOptions {
  std::vector<TraceRow> trace;  // empty: generated
  double time_scale = 1;        // of the trace's arrivals; 0: all come at once
  int64_t requests = 1000;      // generated
  double rate = 1;              // generated: requests/s, Poisson
  LengthDistribution prompt;    // generated
  LengthDistribution output;
  int context = 4096;          // output is cut to context - 1, the prompt to what is left
  double prefix_fraction = 0;  // of the requests begin with a common prefix
  int prefixes = 1;            // that there are, all equally likely
  int prefix_tokens = 0;       // of each; a shorter prompt is the prefix's beginning
  uint64_t seed = 1;
};

// One thread.
class Workload {
 public:
  Workload(WorkloadOptions options, std::vector<Level> levels);

  // Nothing when the workload is over.
  std::optional<SimRequest> Next();
  const std::vector<Level>& levels() const { return levels_; }

 private:
  int DrawLevel();

  const WorkloadOptions options_;
  const std::vector<Level> levels_;
  std::mt19937_64 arrivals_;
  std::mt19937_64 lengths_;
  std::mt19937_64 level_choices_;
  std::mt19937_64 prefix_choices_;
  int64_t drawn_ = 0;
  double seconds_ = 0;  // the last generated arrival
};

}  // namespace skipstone
