#include "engine/schedule/row_lists.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace skipstone {

void RowLists::Build(const StepPlan& plan) {
  plan_ = &plan;
  kinds_.Take(plan);
  CountRows();
  OrderGroups();
  FillWindows();
  int32_t results = 0;
  for (const SequenceChunk& chunk : plan.chunks) {
    kinds_.ForEachRun(chunk, [&](int32_t kind, int begin, int end) {
      FillRows(chunk, kind, begin, end, results);
    });
    results += chunk.logits_rows;
  }
  FillReferences();
  index_.clear();
  // The bound of all index lists, so that pointers into it stay valid: a row has one map at most.
  index_.reserve(tokens_.size() * 5 * num_layers_);
  map_lists_.clear();
  size_t maps = 0;
  for (const LayerMaps& layer : maps_) maps += layer.attention.size() + layer.mlp.size();
  map_lists_.reserve(maps);
  layers_.clear();
  for (int layer = 0; layer < num_layers_; ++layer) layers_.push_back(ListsOf(layer));
}

void RowLists::CountRows() {
  groups_.assign(kinds_.kinds().size(), {});
  for (const SequenceChunk& chunk : plan_->chunks) {
    kinds_.ForEachRun(chunk, [&](int32_t kind, int begin, int end) {
      groups_[kind].count += end - begin;
      ++groups_[kind].runs;
    });
  }
}

void RowLists::OrderGroups() {
  group_order_.clear();
  rows_eliminated_ = 0;
  for (int32_t kind = 0; kind < std::ssize(groups_); ++kind) {
    const int64_t count = groups_[kind].count;
    if (count == 0) continue;
    if (Runs(kind)) group_order_.push_back(kind);
    if (liveness_) rows_eliminated_ += count * SublayersEliminated(SkipOf(kind), LastOf(kind));
  }
  // Rows that need logits by ascending k, the others behind them by descending last layer.
  const auto place = [this](int32_t kind) {
    const bool logits = LastOf(kind) == kAllLayers;
    return std::tuple(!logits, logits ? SkipOf(kind).LastKeptAttention() : -LastOf(kind), kind);
  };
  std::ranges::sort(group_order_, {}, place);
  int32_t rows = 0, logits = 0, runs = 0;
  for (const int32_t kind : group_order_) {
    Group& group = groups_[kind];
    group.begin = group.next_row = rows;
    group.next_run = runs;
    rows += group.count;
    runs += group.runs;
    if (LastOf(kind) == kAllLayers) logits = rows;
  }
  tokens_.resize(rows);
  positions_.resize(rows);
  slots_.resize(rows);
  row_sets_.resize(rows);
  logits_.resize(logits);
  plan_order_.resize(logits);
  runs_.resize(runs);
}

void RowLists::FillWindows() {
  windows_.clear();
  if (std::ranges::all_of(plan_->sets, [](const SkipSet& s) { return s.WindowedAttention() == 0; }))
    return;
  for (const SkipSet& skip : plan_->sets) {
    for (int layer = 0; layer < num_layers_; ++layer) windows_.push_back(skip.Window(layer));
  }
}

void RowLists::FillRows(const SequenceChunk& chunk, int32_t kind, int begin, int end,
                        int32_t results) {
  if (!Runs(kind)) return;
  Group& group = groups_[kind];
  runs_[group.next_run++] = {group.next_row, end - begin};
  for (int position = begin; position < end; ++position) {
    const int32_t row = group.next_row++;
    const int32_t in_chunk = position - chunk.first_position;
    tokens_[row] = plan_->tokens[chunk.first_token + in_chunk];
    positions_[row] = position;
    slots_[row] = chunk.slot;
    row_sets_[row] = chunk.set;
    if (LastOf(kind) != kAllLayers) continue;
    logits_[row] = LogitsOf(chunk, in_chunk);
    plan_order_[row] = results + position - begin;
  }
}

void RowLists::FillReferences() {
  const auto refers = [](const SequenceChunk& chunk) { return chunk.reference >= 0; };
  if (std::ranges::none_of(plan_->chunks, refers)) return;
  row_of_result_.resize(plan_order_.size());
  for (int32_t row = 0; row < std::ssize(plan_order_); ++row) {
    row_of_result_[plan_order_[row]] = row;
  }
  std::vector<int32_t> firsts;  // places of the chunks' first results
  int32_t results = 0;
  for (const SequenceChunk& chunk : plan_->chunks) {
    firsts.push_back(results);
    if (refers(chunk)) {
      SKIPSTONE_CHECK(plan_->chunks[chunk.reference].logits_rows == chunk.logits_rows);
      for (int32_t i = 0; i < chunk.logits_rows; ++i) {
        logits_[row_of_result_[results + i]].reference =
            row_of_result_[firsts[chunk.reference] + i];
      }
    }
    results += chunk.logits_rows;
  }
}

// What is wanted of a row of the chunk that needs logits.
LogitsRow RowLists::LogitsOf(const SequenceChunk& chunk, int32_t row) const {
  LogitsRow logits{.slot = chunk.slot, .position = chunk.first_position + row};
  if (chunk.samples && row == chunk.num_rows - 1) {
    logits.sample = true;
    logits.top_n = chunk.sample_top_n;
  } else {
    // Within the chunk the next token is the next row's; behind it the plan appended it.
    logits.target = plan_->tokens[chunk.first_token + row + 1];
    logits.top_n = chunk.prompt_top_n;
  }
  return logits;
}

LayerRows RowLists::ListsOf(int layer) {
  in_layer_.clear();
  for (const int32_t kind : group_order_) {
    in_layer_.push_back(PartsOf(SkipOf(kind), layer, liveness_ ? LastOf(kind) : kAllLayers));
  }
  // Mostly the rows that store keys are those that query: one list, to all who compare.
  const bool same =
      std::ranges::all_of(in_layer_, [](const LayerParts& p) { return p.kv == p.query; });
  const auto in = [this](bool LayerParts::*part) {
    return [this, part](size_t i) { return in_layer_[i].*part; };
  };
  LayerRows rows{.kv_rows = MakeList(in(&LayerParts::kv))};
  rows.query_rows = same ? rows.kv_rows : MakeList(in(&LayerParts::query));
  rows.mlp_rows = MakeList(in(&LayerParts::mlp));
  static const LayerMaps kNone;
  const LayerMaps& maps = maps_.empty() ? kNone : maps_[layer];
  rows.attention_maps =
      MapLists(&LayerParts::attention_map, maps.attention, &SkipSet::AttentionMap, layer);
  rows.mlp_maps = MapLists(&LayerParts::mlp_map, maps.mlp, &SkipSet::MlpMap, layer);
  return rows;
}

std::span<const RowList> RowLists::MapLists(bool LayerParts::*part, std::span<const uint64_t> maps,
                                            uint64_t (SkipSet::*map_of)(int) const, int layer) {
  int32_t left = 0;  // rows that have a map
  for (size_t i = 0; i < in_layer_.size(); ++i) {
    if (in_layer_[i].*part) left += groups_[group_order_[i]].count;
  }
  if (left == 0) return {};
  const size_t first = map_lists_.size();
  for (const uint64_t map : maps) {
    map_lists_.push_back(MakeList([&](size_t i) {
      return in_layer_[i].*part && (SkipOf(group_order_[i]).*map_of)(layer) == map;
    }));
    left -= map_lists_.back().count;
  }
  SKIPSTONE_CHECK(left == 0);  // a map that the model does not hold would be the identity
  return {map_lists_.data() + first, maps.size()};
}

template <class Takes>
RowList RowLists::MakeList(Takes takes) {
  RowList list;
  bool contiguous = true;
  for (size_t i = 0; i < group_order_.size(); ++i) {
    if (!takes(i)) continue;
    const Group& group = groups_[group_order_[i]];
    if (list.count == 0) list.begin = group.begin;
    contiguous &= group.begin == list.begin + list.count;
    list.count += group.count;
  }
  if (contiguous) return list;
  list.index = index_.data() + index_.size();
  for (size_t i = 0; i < group_order_.size(); ++i) {
    if (!takes(i)) continue;
    const Group& group = groups_[group_order_[i]];
    for (int32_t row = 0; row < group.count; ++row) index_.push_back(group.begin + row);
  }
  return list;
}

StepInput RowLists::input() const {
  StepInput input;
  input.tokens = tokens_;
  input.positions = positions_;
  input.slots = slots_;
  input.layers = layers_;
  input.logits = logits_;
  input.runs = runs_;
  input.sets = row_sets_;
  input.windows = windows_;
  input.sink_tokens = kSinkTokens;
  input.slot_starts = plan_->slot_starts;
  input.page_updates = plan_->page_updates;
  return input;
}

}  // namespace skipstone
