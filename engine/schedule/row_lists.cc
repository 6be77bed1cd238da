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
  MakeParts(plan);
  OrderGroups();
  for (const int32_t i : part_order_) {
    FillRows(plan, parts_[i]);
    if (groups_[parts_[i].group].logits) FillLogits(plan, parts_[i]);
  }
  // The bound of all index lists, so that pointers into it stay valid.
  index_.reserve(tokens_.size() * 3 * num_layers_);
  layers_.reserve(num_layers_);
  for (int layer = 0; layer < num_layers_; ++layer) {
    LayerRows rows;
    rows.kv_rows = MakeList(layer, ListKind::kKv);
    rows.query_rows = SameRows(layer) ? rows.kv_rows : MakeList(layer, ListKind::kQuery);
    rows.mlp_rows = MakeList(layer, ListKind::kMlp);
    rows.attention_rows = rows.kv_rows;  // no row queries a page that it finds already written
    layers_.push_back(rows);
  }
}

void RowLists::MakeParts(const StepPlan& plan) {
  groups_.clear();
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
  const int32_t index = GroupOf(*chunk.skip, logits);
  Group& group = groups_[index];
  const int32_t count = logits ? chunk.logits_rows : chunk.num_rows - chunk.logits_rows;
  ++group.parts;
  group.count += count;
  parts_.push_back({&chunk, index, count, offset, results});
}

// There are few: as many as levels in use, twice.
int32_t RowLists::GroupOf(const SkipSet& skip, bool logits) {
  for (size_t i = 0; i < groups_.size(); ++i) {
    if (groups_[i].logits == logits && *groups_[i].skip == skip) return static_cast<int32_t>(i);
  }
  groups_.push_back({.skip = &skip, .logits = logits, .last_kept = skip.LastKeptAttention()});
  return static_cast<int32_t>(groups_.size()) - 1;
}

void RowLists::OrderGroups() {
  group_order_.clear();
  for (int32_t i = 0; i < std::ssize(groups_); ++i) {
    CountEliminated(groups_[i]);
    // Without any attention a row that needs no logits leaves nothing behind: it does not exist.
    const bool exists = groups_[i].logits || groups_[i].last_kept >= 0 || !liveness_;
    if (exists) group_order_.push_back(i);
  }
  std::ranges::sort(group_order_, [this](int32_t i, int32_t j) {
    const Group& a = groups_[i];
    const Group& b = groups_[j];
    if (a.logits != b.logits) return a.logits;
    if (a.last_kept == b.last_kept) return i < j;
    return a.logits ? a.last_kept < b.last_kept : a.last_kept > b.last_kept;
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
  for (int32_t i = 0; i < std::ssize(parts_); ++i) {
    Group& group = groups_[parts_[i].group];
    if (group.logits || group.last_kept >= 0 || !liveness_) part_order_[group.parts++] = i;
  }
}

void RowLists::CountEliminated(const Group& group) {
  if (!liveness_ || group.logits) return;
  for (int layer = std::max(0, group.last_kept); layer < num_layers_; ++layer) {
    rows_eliminated_ += group.skip->KeepsMlp(layer) ? group.count : 0;
  }
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

bool RowLists::TakesPart(const Group& group, int layer, ListKind kind) const {
  const SkipSet& skip = *group.skip;
  const bool kept = kind == ListKind::kMlp ? skip.KeepsMlp(layer) : skip.KeepsAttention(layer);
  if (!kept || group.logits || !liveness_) return kept;
  return kind == ListKind::kKv ? layer <= group.last_kept : layer < group.last_kept;
}

bool RowLists::SameRows(int layer) const {
  return std::ranges::all_of(groups_, [&](const Group& group) {
    return TakesPart(group, layer, ListKind::kKv) == TakesPart(group, layer, ListKind::kQuery);
  });
}

RowList RowLists::MakeList(int layer, ListKind kind) {
  RowList list;
  bool contiguous = true;
  for (const int32_t i : group_order_) {
    const Group& group = groups_[i];
    if (!TakesPart(group, layer, kind)) continue;
    if (list.count == 0) list.begin = group.begin;
    contiguous &= group.begin == list.begin + list.count;
    list.count += group.count;
  }
  if (contiguous) return list;
  list.index = index_.data() + index_.size();
  for (const int32_t i : group_order_) {
    const Group& group = groups_[i];
    if (!TakesPart(group, layer, kind)) continue;
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
  input.page_copies = plan_->page_copies;
  return input;
}

}  // namespace skipstone
