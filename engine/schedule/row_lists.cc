#include "engine/schedule/row_lists.h"

#include <algorithm>

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
  OrderParts(plan);
  for (Part& part : parts_) {
    part.begin = static_cast<int32_t>(tokens_.size());
    FillRows(plan, part);
    if (part.logits) FillLogits(plan, part);
  }
  // The bound of all index lists, so that pointers into it stay valid.
  index_.reserve(tokens_.size() * 3 * num_layers_);
  layers_.reserve(num_layers_);
  for (int layer = 0; layer < num_layers_; ++layer) {
    LayerRows rows;
    rows.kv_rows = MakeList(layer, ListKind::kKv);
    rows.query_rows = MakeList(layer, ListKind::kQuery);
    rows.mlp_rows = MakeList(layer, ListKind::kMlp);
    rows.attention_rows = rows.kv_rows;  // no row queries a page that it finds already written
    layers_.push_back(rows);
  }
}

void RowLists::OrderParts(const StepPlan& plan) {
  parts_.clear();
  int32_t results = 0;
  for (const SequenceChunk& chunk : plan.chunks) {
    const int last_kept = chunk.skip->LastKeptAttention();
    const int32_t silent = chunk.num_rows - chunk.logits_rows;
    if (liveness_ && silent > 0) {
      int kept_mlp_after = 0;
      for (int layer = std::max(0, last_kept); layer < num_layers_; ++layer) {
        kept_mlp_after += chunk.skip->KeepsMlp(layer) ? 1 : 0;
      }
      rows_eliminated_ += static_cast<int64_t>(silent) * kept_mlp_after;
    }
    // Without any attention a row that needs no logits leaves nothing behind: it does not exist.
    if (silent > 0 && (last_kept >= 0 || !liveness_)) {
      parts_.push_back({&chunk, false, last_kept, 0, silent, 0, results});
    }
    if (chunk.logits_rows > 0) {
      parts_.push_back({&chunk, true, last_kept, 0, chunk.logits_rows, silent, results});
    }
    results += chunk.logits_rows;
  }
  std::stable_sort(parts_.begin(), parts_.end(), [](const Part& a, const Part& b) {
    if (a.logits != b.logits) return a.logits;
    return a.logits ? a.last_kept < b.last_kept : a.last_kept > b.last_kept;
  });
}

void RowLists::FillRows(const StepPlan& plan, const Part& part) {
  const SequenceChunk& chunk = *part.chunk;
  runs_.push_back({part.begin, part.count});
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

bool RowLists::TakesPart(const Part& part, int layer, ListKind kind) const {
  const SkipSet& skip = *part.chunk->skip;
  const bool kept = kind == ListKind::kMlp ? skip.KeepsMlp(layer) : skip.KeepsAttention(layer);
  if (!kept || part.logits || !liveness_) return kept;
  return kind == ListKind::kKv ? layer <= part.last_kept : layer < part.last_kept;
}

RowList RowLists::MakeList(int layer, ListKind kind) {
  RowList list;
  bool contiguous = true;
  for (const Part& part : parts_) {
    if (!TakesPart(part, layer, kind)) continue;
    if (list.count == 0) list.begin = part.begin;
    contiguous &= part.begin == list.begin + list.count;
    list.count += part.count;
  }
  if (contiguous) return list;
  list.index = index_.data() + index_.size();
  for (const Part& part : parts_) {
    if (!TakesPart(part, layer, kind)) continue;
    for (int32_t i = 0; i < part.count; ++i) index_.push_back(part.begin + i);
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
