// Small fleets for the simulator's tests.
#pragma once

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/synthetic.h"
#include "tools/sim/simulator.h"

namespace skipstone {

inline constexpr int kSimLayers = 4;

inline ModelShape ShapeOf(const char* model) { return ParseSyntheticModel(model)->config.shape; }

// Every step takes the same time, whatever it does.
inline CostModel ConstantCost(double step_seconds) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const ModelShape shape = ShapeOf("synthetic:layers=4,hidden=64,heads=4,ffn=128,vocab=64");
  return CostModel(shape, {.reached = {kInfinity, kInfinity}, .step_overhead_s = step_seconds},
                   /*page_tokens=*/4);
}

inline FleetOptions Fleet(int max_batch_tokens, int max_sequences, int64_t num_pages) {
  return {.scheduler = {.max_batch_tokens = max_batch_tokens,
                        .max_sequences = max_sequences,
                        .page_tokens = 4,
                        .num_pages = num_pages}};
}

// With skip sets of kSimLayers layers.
inline SimResult Simulate(const FleetOptions& fleet, WorkloadOptions workload,
                          const std::string& mix = "none", double step_seconds = 0.01) {
  const std::vector<MixPart> parts = *ParseMix(mix);
  return Simulator(fleet, ConstantCost(step_seconds), Workload(std::move(workload), parts),
                   *ParseSkipSets(parts, kSimLayers))
      .Run();
}

inline TraceRow Row(int arrival_ms, int prompt_tokens, int output_tokens) {
  return {std::chrono::milliseconds(arrival_ms), prompt_tokens, output_tokens};
}

inline SimResult RunTrace(const FleetOptions& fleet, std::vector<TraceRow> trace,
                          const std::string& mix = "none") {
  return Simulate(fleet, {.trace = std::move(trace)}, mix);
}

inline Time AtMs(int ms) { return Time(std::chrono::milliseconds(ms)); }

}  // namespace skipstone
