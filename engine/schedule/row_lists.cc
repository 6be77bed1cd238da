#include "engine/schedule/row_lists.h"

#include <algorithm>
#include <utility>

namespace skipstone {

void RowLists::Build(const StepPlan& plan) {
  plan_ = &plan;
  tokens_.clear();
  positions_.clear();
  slots_.clear();
  logits_.clear();
  plan_order_.clear();
  runs_.clear();
  layers_.clear();
  index_.clear();
  rows_eliminated_ = 0;
  MakeGroups(plan);
  MakeParts(plan);
  OrderGroups();
  for (const int32_t i : part_order_) {
    FillRows(plan, parts_[i]);
    if (groups_[parts_[i].group].logits) FillLogits(plan, parts_[i]);
  }
  // The bound of all index lists, so that pointers into it stay valid.
  index_.reserve(tokens_.size() * 3 * num_layers_);
  for (int layer = 0; layer < num_layers_; ++layer) layers_.push_back(ListsOf(layer));
}

void RowLists::MakeGroups(const StepPlan& plan) {
  groups_.clear();
  for (const SkipSet& skip : plan.sets) {
    for (const bool logits : {false, true}) {
      groups_.push_back(
          {.skip = &skip, .logits = logits, .runs = RowsRun(skip, logits || !liveness_)});
    }
  }
}

void RowLists::MakeParts(const StepPlan& plan) {
  parts_.clear();
  int32_t results = 0;
  for (const SequenceChunk& chunk : plan.chunks) {
    const int32_t silent = chunk.num_rows - chunk.logits_rows;
    if (silent > 0) AddPart(chunk, /*logits=*/false, 0, results);
    if (chunk.logits_rows > 0) AddPart(chunk, /*logits=*/true, silent, results);
    results += chunk.logits_rows;
  }
}

void RowLists::AddPart(const SequenceChunk& chunk, bool logits, int32_t offset, int32_t results) {
  const int32_t index = 2 * chunk.set + (logits ? 1 : 0);
  Group& group = groups_[index];
  const int32_t count = logits ? chunk.logits_rows : chunk.num_rows - chunk.logits_rows;
  group.count += count;
  if (!group.runs) return;
  ++group.parts;
  parts_.push_back({&chunk, index, count, offset, results});
}

void RowLists::OrderGroups() {
  group_order_.clear();
  for (int32_t i = 0; i < std::ssize(groups_); ++i) {
    const Group& group = groups_[i];
    if (group.parts > 0) group_order_.push_back(i);
    if (!liveness_ || group.logits || group.count == 0) continue;
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
  int32_t row = 0;
  int32_t place = 0;
  for (const int32_t i : group_order_) {
    Group& group = groups_[i];
    group.begin = row;
    row += group.count;
    place += std::exchange(group.parts, place);  // from now on the place of its next part
  }
  part_order_.resize(place);
  for (int32_t i = 0; i < std::ssize(parts_); ++i)
    part_order_[groups_[parts_[i].group].parts++] = i;
}

void RowLists::FillRows(const StepPlan& plan, const Part& part) {
  const SequenceChunk& chunk = *part.chunk;
  runs_.push_back({static_cast<int32_t>(tokens_.size()), part.count});
  for (int32_t i = part.offset; i < part.offset + part.count; ++i) {
    tokens_.push_back(plan.tokens[chunk.first_token + i]);
    positions_.push_back(chunk.first_position + i);
    slots_.push_back(chunk.slot);
  }
}

void RowLists::FillLogits(const StepPlan& plan, const Part& part) {
  const SequenceChunk& chunk = *part.chunk;
  for (int32_t i = 0; i < part.count; ++i) {
    const int32_t row = part.offset + i;
    const bool last = row == chunk.num_rows - 1;
    LogitsRow logits{.slot = chunk.slot, .position = chunk.first_position + row};
    if (last && chunk.samples) {
      logits.sample = true;
      logits.top_n = chunk.sample_top_n;
    } else {
      // Within the chunk the next token is the next row's; behind it the plan appended it.
      logits.target = plan.tokens[chunk.first_token + row + 1];
      logits.top_n = chunk.prompt_top_n;
    }
    logits_.push_back(logits);
    plan_order_.push_back(part.results + i);
  }
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
