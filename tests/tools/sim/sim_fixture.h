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
  return CostModel(shape, {.reached = {kInfinity, kInfinity}, .step_overhead_s = step_seconds});
}

inline FleetOptions Fleet(int max_batch_tokens, int max_sequences, int64_t num_pages) {
  return {.scheduler = {.max_batch_tokens = max_batch_tokens,
                        .max_sequences = max_sequences,
                        .page_tokens = 4,
                        .num_pages = num_pages}};
}

inline TraceRow Row(int arrival_ms, int prompt_tokens, int output_tokens) {
  return {std::chrono::milliseconds(arrival_ms), prompt_tokens, output_tokens};
}

inline std::vector<Level> Levels(const std::string& text) { return *ParseLevels(text, kSimLayers); }

inline SimResult RunTrace(const FleetOptions& fleet, std::vector<TraceRow> trace,
                          const std::string& levels = "none", double step_seconds = 0.01) {
  Workload workload({.trace = std::move(trace)}, Levels(levels));
  return Simulator(fleet, ConstantCost(step_seconds), std::move(workload)).Run();
}

inline Time AtMs(int ms) { return Time(std::chrono::milliseconds(ms)); }

}  // namespace skipstone
