#include "tools/sim/plan_work.h"

#include <algorithm>
#include <map>

namespace skipstone {
namespace {

// Positions that rows at positions [begin, end) attend to, summed over the rows.
int64_t PairsOf(int64_t begin, int64_t end) { return (end * (end + 1) - begin * (begin + 1)) / 2; }

}  // namespace

PlanWork::PlanWork(int num_layers) : num_layers_(num_layers) { MakeGroups(); }

void PlanWork::Count(const StepPlan& plan) {
  for (Tally& tally : tallies_) tally.all = tally.logits = {};
  for (const SequenceChunk& chunk : plan.chunks) {
    Tally& tally = TallyOf(*chunk.skip);
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
    const Sums& live = layer < tally.skip.LastKeptAttention() ? tally.all : tally.logits;
    if (tally.skip.KeepsAttention(layer)) {
      work.kv_rows += tally.all.rows;
      work.query_rows += live.rows;
      work.read_positions += live.read_positions;
      work.pairs += live.pairs;
    }
    if (tally.skip.KeepsMlp(layer)) work.mlp_rows += live.rows;
  }
  return work;
}

int64_t PlanWork::rows() const {
  int64_t rows = 0;
  for (const Tally& tally : tallies_) {
    rows += tally.skip.LastKeptAttention() >= 0 ? tally.all.rows : tally.logits.rows;
  }
  return rows;
}

int64_t PlanWork::logits_rows() const {
  int64_t rows = 0;
  for (const Tally& tally : tallies_) rows += tally.logits.rows;
  return rows;
}

// A step holds few distinct sets: a scan beats a hash.
PlanWork::Tally& PlanWork::TallyOf(const SkipSet& skip) {
  for (Tally& tally : tallies_) {
    if (tally.skip == skip) return tally;
  }
  tallies_.push_back({.skip = skip});
  MakeGroups();
  return tallies_.back();
}

void PlanWork::MakeGroups() {
  std::map<std::vector<int>, size_t> known;  // how the sets treat a layer -> its group
  groups_.clear();
  for (int layer = 0; layer < num_layers_; ++layer) {
    std::vector<int> treatment;
    for (const Tally& tally : tallies_) {
      treatment.push_back((tally.skip.KeepsAttention(layer) ? 1 : 0) +
                          (tally.skip.KeepsMlp(layer) ? 2 : 0) +
                          (layer < tally.skip.LastKeptAttention() ? 4 : 0));
    }
    const auto [it, added] = known.emplace(std::move(treatment), groups_.size());
    if (added) groups_.push_back({.layer = layer});
    ++groups_[it->second].count;
  }
}

}  // namespace skipstone
