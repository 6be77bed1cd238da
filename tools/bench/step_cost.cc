#include "tools/bench/step_cost.h"

#include <algorithm>
#include <utility>

namespace skipstone {
namespace {

void AddProduct(Stage stage, int64_t rows, double elements, const ElementBytes& bytes,
                std::vector<StageCost>* costs) {
  if (rows == 0) return;
  costs->push_back(
      {.stage = stage, .weight_bytes = elements * bytes.weights, .flops = 2.0 * rows * elements});
}

// Positions [begin, end) of one slot.
struct Visible {
  int32_t slot;
  int32_t begin;
  int32_t end;

  friend auto operator<=>(const Visible&, const Visible&) = default;
};

// Positions of all slots, each once.
int64_t CountOnce(std::vector<Visible> seen) {
  std::ranges::sort(seen);
  int64_t positions = 0;
  int32_t slot = -1, counted = 0;  // of this slot, up to there
  for (const Visible& next : seen) {
    if (next.slot != slot) counted = 0;
    slot = next.slot;
    positions += std::max(0, next.end - std::max(next.begin, counted));
    counted = std::max(counted, next.end);
  }
  return positions;
}

}  // namespace

const char* NameOf(Stage stage) {
  static constexpr const char* kNames[kNumStages] = {"embed",   "qkv",  "attend", "project",
                                                     "gate_up", "down", "logits"};
  return kNames[static_cast<int>(stage)];
}

double StageCost::Floor(const Ceilings& ceilings) const {
  return std::max(bytes() / ceilings.bytes_per_s, flops / ceilings.flops_per_s);
}

LayerWork WorkOf(int layer, const StepInput& step) {
  const LayerRows& rows = step.layers[layer];
  LayerWork work{.kv_rows = rows.kv_rows.count,
                 .query_rows = rows.query_rows.count,
                 .mlp_rows = rows.mlp_rows.count};
  std::vector<Visible> seen;
  for (int32_t i = 0; i < rows.query_rows.count; ++i) {
    const int32_t row = rows.query_rows[i];
    const int32_t slot = step.slots[row], end = step.positions[row] + 1;
    const int32_t window = step.Window(row, layer);
    const int32_t begin = window == 0 ? 0 : std::max(0, end - window);
    const int32_t sink = std::min(window == 0 ? 0 : step.sink_tokens, begin);
    work.pairs += sink + end - begin;
    seen.push_back({slot, begin, end});
    if (sink > 0) seen.push_back({slot, 0, sink});
  }
  work.read_positions = CountOnce(std::move(seen));
  return work;
}

void AddEmbedCost(const ModelShape& shape, const ElementBytes& bytes, int64_t rows,
                  std::vector<StageCost>* costs) {
  const double elements = static_cast<double>(rows) * shape.hidden;
  costs->push_back({.stage = Stage::kEmbed, .weight_bytes = elements * bytes.weights});
}

void AddLayerCost(const ModelShape& shape, const ElementBytes& bytes, const LayerWork& work,
                  std::vector<StageCost>* costs) {
  const double hidden = shape.hidden;
  const double queries = work.query_rows;
  const double stored = work.kv_rows;
  const double kv = 2.0 * shape.kv_size();
  const double read = (queries > 0 ? shape.q_size() : 0) + (stored > 0 ? kv : 0);
  if (read > 0) {
    costs->push_back({.stage = Stage::kQkv,
                      .weight_bytes = hidden * read * bytes.weights,
                      .kv_bytes = stored * kv * bytes.kv,
                      .flops = 2.0 * hidden * (queries * shape.q_size() + stored * kv)});
  }
  // Each K/V head is read once per sequence, however many of its rows and query heads need it.
  if (queries > 0) {
    costs->push_back({.stage = Stage::kAttend,
                      .kv_bytes = work.read_positions * kv * bytes.kv,
                      .flops = 4.0 * work.pairs * shape.q_size()});
  }
  AddProduct(Stage::kProject, work.query_rows, hidden * shape.q_size(), bytes, costs);
  AddProduct(Stage::kGateUp, work.mlp_rows, 2 * hidden * shape.ffn, bytes, costs);
  AddProduct(Stage::kDown, work.mlp_rows, hidden * shape.ffn, bytes, costs);
}

void AddLogitsCost(const ModelShape& shape, const ElementBytes& bytes, int64_t rows,
                   std::vector<StageCost>* costs) {
  const double elements = static_cast<double>(shape.hidden) * shape.vocab;
  AddProduct(Stage::kLogits, rows, elements, bytes, costs);
}

std::vector<StageCost> CostOf(const ModelShape& shape, const ElementBytes& bytes,
                              const StepInput& step) {
  std::vector<StageCost> costs;
  AddEmbedCost(shape, bytes, static_cast<int64_t>(step.tokens.size()), &costs);
  for (int layer = 0; layer < std::ssize(step.layers); ++layer) {
    AddLayerCost(shape, bytes, WorkOf(layer, step), &costs);
  }
  AddLogitsCost(shape, bytes, static_cast<int64_t>(step.logits.size()), &costs);
  return costs;
}

StageCost Total(std::span<const StageCost> costs) {
  StageCost total;
  if (!costs.empty()) total.stage = costs[0].stage;
  for (const StageCost& cost : costs) {
    total.weight_bytes += cost.weight_bytes;
    total.kv_bytes += cost.kv_bytes;
    total.flops += cost.flops;
  }
  return total;
}

double Floor(std::span<const StageCost> costs, const Ceilings& ceilings) {
  double seconds = 0;
  for (const StageCost& cost : costs) seconds += cost.Floor(ceilings);
  return seconds;
}

}  // namespace skipstone
