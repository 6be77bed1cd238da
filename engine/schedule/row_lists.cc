#include "engine/schedule/row_lists.h"

#include <algorithm>

namespace skipstone {

void RowLists::Build(const StepPlan& plan) {
  plan_ = &plan;
  CountGroups(plan);
  OrderGroups();
  int32_t results = 0;
  for (const SequenceChunk& chunk : plan.chunks) {
    const int32_t silent = chunk.num_rows - chunk.logits_rows;
    FillRows(chunk, groups_[2 * chunk.set], 0, silent, 0);
    FillRows(chunk, groups_[2 * chunk.set + 1], silent, chunk.logits_rows, results);
    results += chunk.logits_rows;
  }
  index_.clear();
  // The bound of all index lists, so that pointers into it stay valid.
  index_.reserve(tokens_.size() * 3 * num_layers_);
  layers_.clear();
  for (int layer = 0; layer < num_layers_; ++layer) layers_.push_back(ListsOf(layer));
}

void RowLists::CountGroups(const StepPlan& plan) {
  groups_.clear();
  for (const SkipSet& skip : plan.sets) {
    for (const bool logits : {false, true}) {
      groups_.push_back(
          {.skip = &skip, .logits = logits, .runs = RowsRun(skip, logits || !liveness_)});
    }
  }
  for (const SequenceChunk& chunk : plan.chunks) {
    const int32_t silent = chunk.num_rows - chunk.logits_rows;
    groups_[2 * chunk.set].count += silent;
    groups_[2 * chunk.set].chunks += silent > 0 ? 1 : 0;
    groups_[2 * chunk.set + 1].count += chunk.logits_rows;
    groups_[2 * chunk.set + 1].chunks += chunk.logits_rows > 0 ? 1 : 0;
  }
}

void RowLists::OrderGroups() {
  group_order_.clear();
  rows_eliminated_ = 0;
  for (int32_t i = 0; i < std::ssize(groups_); ++i) {
    const Group& group = groups_[i];
    if (group.count == 0) continue;
    if (group.runs) group_order_.push_back(i);
    if (!liveness_ || group.logits) continue;
    rows_eliminated_ += int64_t{group.count} * SublayersEliminated(*group.skip);
  }
  std::ranges::sort(group_order_, [this](int32_t i, int32_t j) {
    const Group& a = groups_[i];
    const Group& b = groups_[j];
    const int a_last = a.skip->LastKeptAttention();
    const int b_last = b.skip->LastKeptAttention();
    if (a.logits != b.logits) return a.logits;
    if (a_last == b_last) return i < j;
    return a.logits ? a_last < b_last : a_last > b_last;
  });
  int32_t rows = 0, logits = 0, runs = 0;
  for (const int32_t i : group_order_) {
    Group& group = groups_[i];
    group.begin = group.next_row = rows;
    group.next_run = runs;
    rows += group.count;
    runs += group.chunks;
    if (group.logits) logits = rows;
  }
  tokens_.resize(rows);
  positions_.resize(rows);
  slots_.resize(rows);
  logits_.resize(logits);
  plan_order_.resize(logits);
  runs_.resize(runs);
}

void RowLists::FillRows(const SequenceChunk& chunk, Group& group, int32_t first, int32_t count,
                        int32_t results) {
  if (count == 0 || !group.runs) return;
  runs_[group.next_run++] = {group.next_row, count};
  for (int32_t i = 0; i < count; ++i) {
    const int32_t row = group.next_row++;
    tokens_[row] = plan_->tokens[chunk.first_token + first + i];
    positions_[row] = chunk.first_position + first + i;
    slots_[row] = chunk.slot;
    if (!group.logits) continue;
    logits_[row] = LogitsOf(chunk, first + i);
    plan_order_[row] = results + i;
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
  for (const int32_t i : group_order_) {
    in_layer_.push_back(PartsOf(*groups_[i].skip, layer, groups_[i].logits || !liveness_));
  }
  // Mostly the rows that store keys are those that query: one list, to all who compare.
  const bool same =
      std::ranges::all_of(in_layer_, [](const LayerParts& p) { return p.kv == p.query; });
  LayerRows rows{.kv_rows = MakeList(&LayerParts::kv)};
  rows.query_rows = same ? rows.kv_rows : MakeList(&LayerParts::query);
  rows.mlp_rows = MakeList(&LayerParts::mlp);
  return rows;
}

RowList RowLists::MakeList(bool LayerParts::*part) {
  RowList list;
  bool contiguous = true;
  for (size_t i = 0; i < group_order_.size(); ++i) {
    if (!(in_layer_[i].*part)) continue;
    const Group& group = groups_[group_order_[i]];
    if (list.count == 0) list.begin = group.begin;
    contiguous &= group.begin == list.begin + list.count;
    list.count += group.count;
  }
  if (contiguous) return list;
  list.index = index_.data() + index_.size();
  for (size_t i = 0; i < group_order_.size(); ++i) {
    if (!(in_layer_[i].*part)) continue;
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
  input.slot_starts = plan_->slot_starts;
  input.page_updates = plan_->page_updates;
  return input;
}

}  // namespace skipstone
