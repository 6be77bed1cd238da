// What a benchmark measured, and the numbers that are published of it. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/bench/options.h"
#include "tools/bench/step_cost.h"

namespace skipstone {

// One repetition of a prompt's prefill, or one decode step of the batch.
struct Sample {
  double seconds = 0;
  double launch_seconds = 0;  // that the host spent in Launch; on the CPU it computes there
  StageCost cost;             // of all its stages
  double floor_seconds = 0;
  Ceilings ceilings;  // measured in the same round; zeros if there are none
};

// One stage, summed over its layers and over steps.
struct StageSum {
  double seconds = 0;  // with --stages
  double floor_seconds = 0;
  double bytes = 0;
  double flops = 0;
};

struct Phase {
  std::vector<Sample> samples;  // samples[i] of all skip sets were taken close to each other
  std::array<StageSum, kNumStages> stages{};
  int stage_runs = 0;  // decode steps, or repetitions of the prefill, that the sums are of
};

struct ArmResult {
  std::string skip;  // canonical; "mixed": its sequences take all of them in turn
  bool mixed = false;
  int64_t kv_pages_used = 0;
  Phase prefill;
  Phase decode;
};

struct BenchResult {
  BenchOptions options;
  std::string backend;
  int threads = 0;
  double weight_bytes = 0;         // of all matrices of the model
  std::string flops_kind;          // what the ceiling of FLOPs is one of
  std::vector<Ceilings> ceilings;  // by round; empty if the backend has no meter
  std::vector<ArmResult> arms;
};

// 0 for an empty range.
double Median(std::vector<double> values);

// Medians over the samples, 0 without samples: of a value, such as &Sample::seconds, and of its
// ratios in samples taken next to each other: how much less `phase` takes than `base`.
using SampleValue = std::function<double(const Sample&)>;
double MedianOf(const Phase& phase, const SampleValue& value);
double MedianRatio(const Phase& base, const Phase& phase, const SampleValue& value);

// The keys of the contract for the first skip set at the top, for each in "skips".
std::string ToJson(const BenchResult& result);
std::string ToTable(const BenchResult& result);

}  // namespace skipstone
