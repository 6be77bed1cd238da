#include "tools/sim/plan_work.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "engine/skip/liveness.h"

namespace skipstone {
namespace {

struct Range {
  int begin = 0;
  int end = 0;

  bool empty() const { return begin == end; }
};

// Positions that rows at positions [begin, end) see, summed over the rows.
int64_t PairsOf(int64_t begin, int64_t end, int window) {
  const int64_t most =
      window == 0 ? std::numeric_limits<int32_t>::max() : int64_t{window} + kSinkTokens;
  const int64_t middle = std::clamp(most, begin, end);  // from here on rows do not see all
  return (middle * (middle + 1) - begin * (begin + 1)) / 2 + (end - middle) * most;
}

// Positions that some row of `head`, or of `tail` behind it, sees.
int64_t PositionsSeen(const Range& head, const Range& tail, int window) {
  int seen = window == 0 ? 0 : std::min(kSinkTokens, std::max(head.end, tail.end));
  int64_t positions = seen;
  for (const Range& rows : {head, tail}) {
    if (rows.empty()) continue;
    const int first = window == 0 ? 0 : rows.begin - window + 1;
    positions += std::max(0, rows.end - std::max(first, seen));
    seen = std::max(seen, rows.end);
  }
  return positions;
}

}  // namespace

PlanWork::PlanWork(int num_layers, int page_tokens)
    : num_layers_(num_layers), page_tokens_(page_tokens), kinds_(page_tokens) {
  MakeGroups();
}

void PlanWork::Count(const StepPlan& plan) {
  if (sets_ != plan.sets) Take(plan);
  for (Tally& tally : tallies_) {
    tally.rows = 0;
    std::ranges::fill(tally.seen, Seen());
  }
  for (const SequenceChunk& chunk : plan.chunks) CountChunk(chunk);
}

// The plan's sets.
void PlanWork::Take(const StepPlan& plan) {
  kinds_.Take(plan);
  sets_ = plan.sets;
  windows_.clear();
  const size_t met = met_.size();
  for (const SkipSet& skip : sets_) {
    Windows& windows = windows_.emplace_back();
    for (int layer = 0; layer < num_layers_; ++layer) {
      if (!skip.KeepsAttention(layer)) continue;
      const int window = skip.Window(layer);
      if (std::ranges::find(windows, window) == windows.end()) windows.push_back(window);
    }
    if (std::ranges::find(met_, skip) == met_.end()) met_.push_back(skip);
  }
  tallies_.clear();
  for (const RowKinds::Kind& kind : kinds_.kinds()) {
    tallies_.emplace_back().seen.resize(windows_[kind.set].size());
  }
  if (met_.size() > met) MakeGroups();
}

void PlanWork::CountChunk(const SequenceChunk& chunk) {
  runs_.clear();
  kinds_.ForEachRun(chunk, [&](int32_t kind, int begin, int end) {
    runs_.push_back({kind, begin, end});
  });
  // Rows that go furthest first: a layer runs all kinds up to some one, so the positions that each
  // kind adds to those before it add up to what the layer reads.
  std::ranges::sort(runs_, {}, [](const Run& run) { return std::pair(run.kind, -run.begin); });
  const Windows& windows = windows_[chunk.set];
  absl::InlinedVector<int64_t, 2> before(windows.size(), 0);
  const int end = chunk.first_position + chunk.num_rows;
  Range sink, tail{end, end};
  for (const Run& run : runs_) {
    if (run.end == tail.begin) {
      tail.begin = run.begin;
    } else {
      sink = {run.begin, run.end};
    }
    Tally& tally = tallies_[run.kind];
    tally.rows += run.end - run.begin;
    for (size_t i = 0; i < windows.size(); ++i) {
      const int64_t seen = PositionsSeen(sink, tail, windows[i]);
      tally.seen[i].pairs += PairsOf(run.begin, run.end, windows[i]);
      tally.seen[i].positions += seen - std::exchange(before[i], seen);
    }
  }
}

LayerWork PlanWork::Layer(int layer) const {
  LayerWork work;
  for (size_t kind = 0; kind < tallies_.size(); ++kind) {
    const auto [set, last] = kinds_.kinds()[kind];
    const Tally& tally = tallies_[kind];
    const LayerParts parts = PartsOf(sets_[set], layer, last);
    if (parts.kv) work.kv_rows += tally.rows;
    if (parts.mlp) work.mlp_rows += tally.rows;
    if (!parts.query) continue;
    const auto window = std::ranges::find(windows_[set], sets_[set].Window(layer));
    const Seen& seen = tally.seen[window - windows_[set].begin()];
    work.query_rows += tally.rows;
    work.read_positions += seen.positions;
    work.pairs += seen.pairs;
  }
  return work;
}

int64_t PlanWork::rows() const {
  int64_t rows = 0;
  for (size_t kind = 0; kind < tallies_.size(); ++kind) {
    if (kinds_.kinds()[kind].last >= 0) rows += tallies_[kind].rows;
  }
  return rows;
}

int64_t PlanWork::logits_rows() const {
  int64_t rows = 0;
  for (size_t kind = 0; kind < tallies_.size(); ++kind) {
    if (kinds_.kinds()[kind].last == kAllLayers) rows += tallies_[kind].rows;
  }
  return rows;
}

void PlanWork::MakeGroups() {
  // What the sets do in a layer, with each kind of rows and through which window -> its group.
  std::map<std::pair<std::vector<LayerParts>, std::vector<int>>, size_t> known;
  groups_.clear();
  for (int layer = 0; layer < num_layers_; ++layer) {
    std::vector<LayerParts> parts;
    std::vector<int> windows;
    for (const SkipSet& skip : met_) {
      const Liveness live(skip, page_tokens_);
      for (int kind = 0; kind < live.num_kinds(); ++kind) {
        parts.push_back(PartsOf(skip, layer, live.LastLayer(kind)));
      }
      windows.push_back(skip.Window(layer));
    }
    const auto [it, added] =
        known.emplace(std::pair(std::move(parts), std::move(windows)), groups_.size());
    if (added) groups_.push_back({.layer = layer});
    ++groups_[it->second].count;
  }
}

}  // namespace skipstone
