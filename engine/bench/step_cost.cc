#include "engine/bench/step_cost.h"

#include <algorithm>
#include <map>

namespace skipstone {
namespace {

class Counter {
 public:
  Counter(const ModelShape& shape, const ElementBytes& bytes, const StepInput& step)
      : shape_(shape), bytes_(bytes), step_(step) {}

  std::vector<StageCost> Count() {
    const double hidden = shape_.hidden;
    const double embedded = static_cast<double>(step_.tokens.size());
    costs_.push_back({.stage = Stage::kEmbed, .weight_bytes = embedded * hidden * bytes_.weights});
    for (const LayerRows& rows : step_.layers) {
      if (!rows.attention_rows.empty()) {
        Qkv(rows);
        Attend(rows.query_rows);
        Product(Stage::kProject, rows.query_rows.count, hidden * shape_.q_size());
      }
      Product(Stage::kGateUp, rows.mlp_rows.count, 2 * hidden * shape_.ffn);
      Product(Stage::kDown, rows.mlp_rows.count, hidden * shape_.ffn);
    }
    Product(Stage::kLogits, static_cast<int>(step_.logits.size()), hidden * shape_.vocab);
    return std::move(costs_);
  }

 private:
  void Product(Stage stage, int rows, double elements) {
    if (rows == 0) return;
    costs_.push_back({.stage = stage,
                      .weight_bytes = elements * bytes_.weights,
                      .flops = 2.0 * rows * elements});
  }

  void Qkv(const LayerRows& rows) {
    const double hidden = shape_.hidden;
    const double queries = rows.query_rows.count;
    const double stored = rows.kv_rows.count;
    const double kv = 2.0 * shape_.kv_size();
    const double read = (queries > 0 ? shape_.q_size() : 0) + (stored > 0 ? kv : 0);
    costs_.push_back({.stage = Stage::kQkv,
                      .weight_bytes = hidden * read * bytes_.weights,
                      .kv_bytes = stored * kv * bytes_.kv,
                      .flops = 2.0 * hidden * (queries * shape_.q_size() + stored * kv)});
  }

  // Each K/V head is read once per sequence, however many of its rows and query heads need it.
  void Attend(const RowList& rows) {
    if (rows.empty()) return;
    std::map<int32_t, int32_t> visible;  // slot -> positions
    double pairs = 0;
    for (int32_t i = 0; i < rows.count; ++i) {
      const int32_t positions = step_.positions[rows[i]] + 1;
      int32_t& most = visible[step_.slots[rows[i]]];
      most = std::max(most, positions);
      pairs += positions;
    }
    double read = 0;
    for (const auto& [slot, positions] : visible) read += positions;
    costs_.push_back({.stage = Stage::kAttend,
                      .kv_bytes = read * 2.0 * shape_.kv_size() * bytes_.kv,
                      .flops = 4.0 * pairs * shape_.q_size()});
  }

  const ModelShape& shape_;
  const ElementBytes bytes_;
  const StepInput& step_;
  std::vector<StageCost> costs_;
};

}  // namespace

const char* NameOf(Stage stage) {
  static constexpr const char* kNames[kNumStages] = {"embed",   "qkv",  "attend", "project",
                                                     "gate_up", "down", "logits"};
  return kNames[static_cast<int>(stage)];
}

double StageCost::Floor(const Ceilings& ceilings) const {
  return std::max(bytes() / ceilings.bytes_per_s, flops / ceilings.flops_per_s);
}

std::vector<StageCost> CostOf(const ModelShape& shape, const ElementBytes& bytes,
                              const StepInput& step) {
  return Counter(shape, bytes, step).Count();
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
