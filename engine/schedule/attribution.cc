#include "engine/schedule/attribution.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace skipstone {

void Attribution::CountChunks(const StepPlan& plan) {
  kinds_.Take(plan);
  groups_.assign(kinds_.kinds().size(), {});
  furthest_.clear();
  for (const SequenceChunk& chunk : plan.chunks) {
    // A set's kinds go less and less far.
    int32_t furthest = std::numeric_limits<int32_t>::max();
    kinds_.ForEachRun(chunk, [&](int32_t kind, int, int) { furthest = std::min(furthest, kind); });
    furthest_.push_back(furthest);
    ++groups_[furthest].chunks;
  }
}

// Adds what a layer costs each group.
void Attribution::WeighLayer(int layer, std::span<const SkipSet> sets) {
  const auto parts_of = [&](size_t kind) {
    return PartsOf(sets[kinds_.kinds()[kind].set], layer, kinds_.kinds()[kind].last);
  };
  int kv = 0, query = 0, mlp = 0;  // chunks that need the weights
  for (size_t kind = 0; kind < groups_.size(); ++kind) {
    const LayerParts parts = parts_of(kind);
    if (parts.kv) kv += groups_[kind].chunks;
    if (parts.query) query += groups_[kind].chunks;
    if (parts.mlp) mlp += groups_[kind].chunks;
  }
  for (size_t kind = 0; kind < groups_.size(); ++kind) {
    Group& group = groups_[kind];
    const LayerParts parts = parts_of(kind);
    group.row += BytesOf(work_, parts) / work_.rows_per_read;
    if (group.chunks == 0) continue;
    if (parts.kv) group.weights += work_.kv_bytes / kv;
    if (parts.query) group.weights += work_.query_bytes / query;
    if (parts.mlp) group.weights += work_.mlp_bytes / mlp;
    const int window = sets[kinds_.kinds()[kind].set].Window(layer);
    if (parts.query && window == 0) ++group.full_layers;
    if (!parts.query || window == 0) continue;
    ++group.windowed_layers;
    group.window_tokens += window;
  }
}

// Of all layers together. The rows of a chunk share what they read.
double Attribution::PositionsReadBy(const SequenceChunk& chunk, const Group& group) const {
  const double context = chunk.first_position + chunk.num_rows;
  const double windows =
      group.window_tokens + 1.0 * group.windowed_layers * (kSinkTokens + chunk.num_rows - 1);
  return group.full_layers * context + std::min(windows, group.windowed_layers * context);
}

std::span<const double> Attribution::Shares(const StepPlan& plan) {
  CountChunks(plan);
  for (int layer = 0; layer < plan.sets[0].num_layers(); ++layer) WeighLayer(layer, plan.sets);
  const auto head_users = std::ranges::count_if(
      plan.chunks, [](const SequenceChunk& chunk) { return chunk.logits_rows > 0; });
  for (size_t kind = 0; kind < groups_.size(); ++kind) {
    if (kinds_.kinds()[kind].last != kAllLayers) continue;
    groups_[kind].weights += work_.head_bytes / std::max<double>(1, head_users);
    groups_[kind].row += work_.head_bytes / work_.rows_per_read;
  }
  shares_.clear();
  for (size_t i = 0; i < plan.chunks.size(); ++i) {
    const Group& group = groups_[furthest_[i]];
    double share = group.weights + PositionsReadBy(plan.chunks[i], group) * work_.kv_token_bytes;
    kinds_.ForEachRun(plan.chunks[i], [&](int32_t kind, int begin, int end) {
      share += (end - begin) * groups_[kind].row;
    });
    shares_.push_back(share);
  }
  const double total = std::accumulate(shares_.begin(), shares_.end(), 0.0);
  // Without any attention, rows that need no logits are no work at all.
  for (double& share : shares_) share = total > 0 ? share / total : 1.0 / shares_.size();
  return shares_;
}

}  // namespace skipstone
