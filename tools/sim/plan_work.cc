#include "tools/sim/plan_work.h"

#include <algorithm>
#include <map>
#include <utility>

#include "engine/skip/liveness.h"

namespace skipstone {
namespace {

// Positions that rows at positions [begin, end) attend to, summed over the rows.
int64_t PairsOf(int64_t begin, int64_t end) { return (end * (end + 1) - begin * (begin + 1)) / 2; }

}  // namespace

PlanWork::PlanWork(int num_layers) : num_layers_(num_layers) { MakeGroups(); }

void PlanWork::Count(const StepPlan& plan) {
  for (Tally& tally : tallies_) tally.all = tally.logits = {};
  tally_of_.clear();
  for (const SkipSet& skip : plan.sets) tally_of_.push_back(TallyOf(skip));
  for (const SequenceChunk& chunk : plan.chunks) {
    Tally& tally = tallies_[tally_of_[chunk.set]];
    const int64_t end = int64_t{chunk.first_position} + chunk.num_rows;
    tally.all.rows += chunk.num_rows;
    tally.all.read_positions += end;
    tally.all.pairs += PairsOf(chunk.first_position, end);
    if (chunk.logits_rows == 0) continue;
    tally.logits.rows += chunk.logits_rows;
    tally.logits.read_positions += end;
    tally.logits.pairs += PairsOf(end - chunk.logits_rows, end);
  }
}

LayerWork PlanWork::Layer(int layer) const {
  LayerWork work;
  for (const Tally& tally : tallies_) {
    const LayerParts kept = PartsOf(tally.skip, layer, kAllLayers);
    const LayerParts others = PartsOf(tally.skip, layer, tally.skip.LastKeptAttention());
    if (kept.kv) work.kv_rows += tally.Of(others.kv).rows;
    if (kept.mlp) work.mlp_rows += tally.Of(others.mlp).rows;
    if (!kept.query) continue;
    const Sums& query = tally.Of(others.query);
    work.query_rows += query.rows;
    work.read_positions += query.read_positions;
    work.pairs += query.pairs;
  }
  return work;
}

int64_t PlanWork::rows() const {
  int64_t rows = 0;
  for (const Tally& tally : tallies_) {
    rows += tally.Of(tally.skip.LastKeptAttention() >= 0).rows;
  }
  return rows;
}

int64_t PlanWork::logits_rows() const {
  int64_t rows = 0;
  for (const Tally& tally : tallies_) rows += tally.logits.rows;
  return rows;
}

size_t PlanWork::TallyOf(const SkipSet& skip) {
  const auto known = std::ranges::find(tallies_, skip, &Tally::skip);
  const size_t place = known - tallies_.begin();
  if (known == tallies_.end()) {
    tallies_.push_back({.skip = skip});
    MakeGroups();
  }
  return place;
}

void PlanWork::MakeGroups() {
  std::map<std::vector<LayerParts>, size_t> known;  // what the sets do in a layer -> its group
  groups_.clear();
  for (int layer = 0; layer < num_layers_; ++layer) {
    std::vector<LayerParts> treatment;
    for (const Tally& tally : tallies_) {
      treatment.push_back(PartsOf(tally.skip, layer, kAllLayers));
      treatment.push_back(PartsOf(tally.skip, layer, tally.skip.LastKeptAttention()));
    }
    const auto [it, added] = known.emplace(std::move(treatment), groups_.size());
    if (added) groups_.push_back({.layer = layer});
    ++groups_[it->second].count;
  }
}

}  // namespace skipstone
