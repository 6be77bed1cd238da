#include "engine/schedule/attribution.h"

#include <numeric>

namespace skipstone {

// Adds what a layer costs each group.
void Attribution::WeighLayer(int layer) {
  int kv = 0, query = 0, mlp = 0;  // chunks that need the weights
  for (const Group& group : groups_) {
    const LayerParts parts = PartsOf(*group.skip, layer, group.logits);
    if (parts.kv) kv += group.chunks;
    if (parts.query) query += group.chunks;
    if (parts.mlp) mlp += group.chunks;
  }
  for (Group& group : groups_) {
    if (group.chunks == 0) continue;
    const LayerParts parts = PartsOf(*group.skip, layer, group.logits);
    if (parts.kv) group.weights += work_.kv_bytes / kv;
    if (parts.query) group.weights += work_.query_bytes / query;
    if (parts.mlp) group.weights += work_.mlp_bytes / mlp;
    group.attend_layers += parts.query ? 1 : 0;
    group.live_row += BytesOf(work_, PartsOf(*group.skip, layer, true)) / work_.rows_per_read;
    group.silent_row += BytesOf(work_, PartsOf(*group.skip, layer, false)) / work_.rows_per_read;
  }
}

std::span<const double> Attribution::Shares(const StepPlan& plan) {
  groups_.clear();
  for (const SkipSet& skip : plan.sets) {
    groups_.push_back({.skip = &skip, .logits = false});
    groups_.push_back({.skip = &skip, .logits = true});
  }
  int head_users = 0;
  for (const SequenceChunk& chunk : plan.chunks) {
    ++groups_[GroupOf(chunk)].chunks;
    head_users += chunk.logits_rows > 0 ? 1 : 0;
  }
  for (int layer = 0; layer < plan.sets[0].num_layers(); ++layer) WeighLayer(layer);
  for (Group& group : groups_) {
    if (group.logits && group.chunks > 0) group.weights += work_.head_bytes / head_users;
    group.live_row += work_.head_bytes / work_.rows_per_read;
  }
  shares_.clear();
  for (const SequenceChunk& chunk : plan.chunks) {
    const Group& group = groups_[GroupOf(chunk)];
    const double context = chunk.first_position + chunk.num_rows;
    shares_.push_back(group.weights + chunk.logits_rows * group.live_row +
                      (chunk.num_rows - chunk.logits_rows) * group.silent_row +
                      group.attend_layers * context * work_.kv_token_bytes);
  }
  const double total = std::accumulate(shares_.begin(), shares_.end(), 0.0);
  // Without any attention, rows that need no logits are no work at all.
  for (double& share : shares_) share = total > 0 ? share / total : 1.0 / shares_.size();
  return shares_;
}

}  // namespace skipstone
