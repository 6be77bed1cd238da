#include "engine/schedule/attribution.h"

#include <numeric>

namespace skipstone {

void Attribution::CountUsers() {
  users_.assign(groups_[0].skip->num_layers(), {});
  head_users_ = 0;
  for (const Group& group : groups_) {
    if (group.logits) head_users_ += group.chunks;
    for (int layer = 0; layer < static_cast<int>(users_.size()); ++layer) {
      const LayerParts parts = PartsOf(*group.skip, layer, group.logits);
      Users& users = users_[layer];
      if (parts.kv) users.kv += group.chunks;
      if (parts.query) users.query += group.chunks;
      if (parts.mlp) users.mlp += group.chunks;
    }
  }
}

void Attribution::Weigh(Group& group) const {
  const auto row_bytes = [&](const LayerParts& parts) {
    return BytesOf(work_, parts) / work_.rows_per_read;
  };
  for (int layer = 0; layer < static_cast<int>(users_.size()); ++layer) {
    const LayerParts parts = PartsOf(*group.skip, layer, group.logits);
    const Users& users = users_[layer];
    if (parts.kv) group.weights += work_.kv_bytes / users.kv;
    if (parts.query) group.weights += work_.query_bytes / users.query;
    if (parts.mlp) group.weights += work_.mlp_bytes / users.mlp;
    group.attend_layers += parts.query ? 1 : 0;
    group.live_row += row_bytes(PartsOf(*group.skip, layer, true));
    group.silent_row += row_bytes(PartsOf(*group.skip, layer, false));
  }
  if (group.logits) group.weights += work_.head_bytes / head_users_;
  group.live_row += work_.head_bytes / work_.rows_per_read;
}

std::span<const double> Attribution::Shares(const StepPlan& plan) {
  groups_.clear();
  for (const SkipSet& skip : plan.sets) {
    groups_.push_back({.skip = &skip, .logits = false});
    groups_.push_back({.skip = &skip, .logits = true});
  }
  for (const SequenceChunk& chunk : plan.chunks) ++groups_[GroupOf(chunk)].chunks;
  CountUsers();
  for (Group& group : groups_) {
    if (group.chunks > 0) Weigh(group);
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
