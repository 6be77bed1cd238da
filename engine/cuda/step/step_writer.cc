#include "engine/cuda/step/step_writer.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "engine/backend/logits_blocks.h"

namespace skipstone::cuda {
namespace {

template <class T>
constexpr int64_t kWordsOf = sizeof(T) / sizeof(int32_t);
// Of a logits row: it is there once, and as a reference once more for each row compared.
constexpr int64_t kWordsOfCompared = 2 * 2;

// True if the same rows attend in both layers and each has the same window in both.
bool AttendAlike(const StepInput& step, int a, int b) {
  const RowList& x = step.layers[a].query_rows;
  const RowList& y = step.layers[b].query_rows;
  if (x.begin != y.begin || x.count != y.count || x.index != y.index) return false;
  for (size_t set = 0; set < step.windows.size(); set += step.layers.size()) {
    if (step.windows[set + a] != step.windows[set + b]) return false;
  }
  return true;
}

}  // namespace

StepWriter::StepWriter(const ModelShape& shape, const StepLimits& limits, const DecodeSplit& split)
    : split_(split),
      num_layers_(shape.num_layers),
      vocab_(shape.vocab),
      logits_rows_(LogitsRows(shape, limits)) {
  const int64_t rows = limits.max_rows;
  // A page per row and layer, and what sequences that find their prompt cached bring along.
  max_deltas_ = rows * num_layers_ + 4096;
  // A row has one map of a sublayer, and a sequence, and so a slot, too.
  const int64_t of_maps = kMapListsPerLayer * (kWordsOf<DeviceMapLists> +
                                               limits.max_slots * kWordsOf<DeviceMapList> + rows);
  // A sequence has one set of windows.
  const int64_t of_layer =
      kListsPerLayer * (kWordsOf<DeviceRowList> + rows) + kWordsOf<DecodePlan> +
      split_.MaxItems(limits.max_rows) * kWordsOf<DecodeItem> + limits.max_slots + of_maps;
  max_words_ = kWordsOf<StepHeader> + 3 * rows + num_layers_ * of_layer +
               limits.max_logits_rows * (kWordsOf<DeviceLogitsRow> + kWordsOfCompared) +
               rows * kWordsOf<PrefillTile> + max_deltas_ * kWordsOf<DevicePageUpdate>;
}

template <class T>
int32_t StepWriter::Append(std::span<const T> values) {
  static_assert(sizeof(T) % sizeof(int32_t) == 0);
  const int32_t first = used_;
  const auto words = static_cast<int64_t>(values.size()) * kWordsOf<T>;
  SKIPSTONE_CHECK(used_ + words <= max_words_);
  if (!values.empty()) std::memcpy(words_ + first, values.data(), values.size_bytes());
  used_ += static_cast<int32_t>(words);
  return first;
}

DeviceRowList StepWriter::AppendList(const RowList& list) {
  if (list.index == nullptr || list.count == 0) return {list.begin, list.count, 0};
  // The lists of a layer are often one.
  if (list.index != last_index_) {
    last_offset_ = Append(std::span(list.index, list.count));
    last_index_ = list.index;
  }
  return {0, list.count, last_offset_};
}

int32_t StepWriter::AppendLists(std::span<const LayerRows> layers) {
  std::vector<DeviceRowList> lists;
  lists.reserve(layers.size() * kListsPerLayer);
  last_index_ = nullptr;
  for (const LayerRows& layer : layers) {
    const RowList* const of_layer[kListsPerLayer] = {&layer.kv_rows, &layer.query_rows,
                                                     &layer.mlp_rows};
    for (const RowList* list : of_layer) lists.push_back(AppendList(*list));
  }
  return Append<DeviceRowList>(lists);
}

int32_t StepWriter::AppendMapLists(std::span<const LayerRows> layers) {
  const auto none = [](const LayerRows& layer) {
    return layer.attention_maps.empty() && layer.mlp_maps.empty();
  };
  if (std::ranges::all_of(layers, none)) return 0;
  std::vector<DeviceMapLists> of_sublayers;
  std::vector<DeviceMapList> lists;
  for (const LayerRows& layer : layers) {
    for (const std::span<const RowList> maps : {layer.attention_maps, layer.mlp_maps}) {
      lists.clear();
      for (int32_t map = 0; map < std::ssize(maps); ++map) {
        if (!maps[map].empty()) lists.push_back({map, AppendList(maps[map])});
      }
      of_sublayers.push_back({static_cast<int32_t>(lists.size()), Append<DeviceMapList>(lists)});
    }
  }
  return Append<DeviceMapLists>(of_sublayers);
}

int32_t StepWriter::AppendLogits(std::span<const LogitsRow> rows) {
  std::vector<DeviceLogitsRow> out;
  out.reserve(rows.size());
  num_top_ = 0;
  for (const LogitsRow& row : rows) {
    const int32_t top_n = std::min(row.top_n, vocab_);
    SKIPSTONE_CHECK(top_n <= kMaxTop);
    out.push_back({row.slot, row.position, row.sample ? 1 : 0, row.target, top_n, num_top_});
    num_top_ += std::max(0, top_n);
  }
  return Append<DeviceLogitsRow>(out);
}

void StepWriter::AppendCompared(std::span<const LogitsRow> rows, StepHeader* header) {
  compared_blocks_.clear();
  const auto compared = [](const LogitsRow& row) { return row.reference >= 0; };
  if (std::ranges::none_of(rows, compared)) return;
  std::vector<int32_t> order, references;
  for (const LogitsBlock& block : BlocksOf(rows, logits_rows_)) {
    compared_blocks_.push_back(static_cast<int32_t>(block.size()));
    for (const LogitsEntry& entry : block) {
      order.push_back(entry.row);
      references.push_back(entry.reduced ? entry.reference : kNotReduced);
    }
  }
  header->compared_rows = Append<int32_t>(order);
  header->references = Append<int32_t>(references);
}

int StepWriter::LogitsRows(const ModelShape& shape, const StepLimits& limits) {
  constexpr int kRows = 256;
  constexpr int kElements = 1 << 24;
  const int most = std::min(kRows, std::max(2, kElements / shape.vocab));
  return std::clamp(limits.max_logits_rows, 2, most);
}

// Rows that are alone are for the decode attention, the others make tiles.
void StepWriter::SortRuns(const StepInput& step) {
  const auto set_of = [&](int32_t row) { return step.windows.empty() ? 0 : step.sets[row]; };
  alone_.clear();
  tiles_.clear();
  for (const RowRun& run : step.runs) {
    if (run.count == 1) {
      alone_.push_back(run.begin);
      continue;
    }
    const int32_t end = run.begin + run.count;
    for (int32_t row = run.begin; row < end; row += tiles_.back().count) {
      const int32_t most = std::min(end - row, kPrefillRows);
      int32_t count = 1;
      while (count < most && set_of(row + count) == set_of(row)) ++count;
      tiles_.push_back({row, count, set_of(row)});
    }
  }
}

DecodePlan StepWriter::AppendDecodePlan(const StepInput& step, int layer) {
  decode_rows_.clear();
  items_.clear();
  const RowList& list = step.layers[layer].query_rows;
  const RowView attending = {list.begin, list.count, list.index};
  for (const int32_t row : alone_) {
    if (!attending.Has(row)) continue;
    const int32_t position = step.positions[row];
    const Gap gap = Gap::Before(position, step.Window(row, layer), step.sink_tokens);
    decode_rows_.push_back({row, position + 1 - gap.size, gap});
  }
  split_.Plan(decode_rows_, items_);
  return {static_cast<int32_t>(items_.size()), Append<DecodeItem>(items_)};
}

// Each layer has a plan, since a split that is good for rows that see 4,096 positions is none for
// those that see 80, and a row may be either, layer by layer. Layers like the one before, mostly
// all but two or three, have its plan. A recorded step stays valid: it launches what any plan of
// its bucket may need, and blocks without an item leave.
void StepWriter::WriteDecodePlans(const StepInput& step) {
  const int layers = static_cast<int>(step.layers.size());
  used_ += layers * kWordsOf<DecodePlan>;
  DecodePlan plan = {};
  for (int layer = 0; layer < layers; ++layer) {
    if (layer == 0 || !AttendAlike(step, layer, layer - 1)) plan = AppendDecodePlan(step, layer);
    std::memcpy(words_ + kWordsOf<StepHeader> + layer * kWordsOf<DecodePlan>, &plan, sizeof(plan));
  }
}

int64_t StepWriter::Write(const StepInput& step, void* to) {
  static_assert(sizeof(PageUpdate) == sizeof(DevicePageUpdate));
  words_ = static_cast<int32_t*>(to);
  used_ = kWordsOf<StepHeader>;
  SortRuns(step);
  WriteDecodePlans(step);
  StepHeader header = {};
  header.num_rows = static_cast<int32_t>(step.tokens.size());
  header.num_logits = static_cast<int32_t>(step.logits.size());
  header.num_prefill_tiles = static_cast<int32_t>(tiles_.size());
  header.num_page_updates = static_cast<int32_t>(step.page_updates.size());
  header.tokens = Append(step.tokens);
  header.positions = Append(step.positions);
  header.slots = Append(step.slots);
  header.lists = AppendLists(step.layers);
  header.maps = AppendMapLists(step.layers);
  header.logits = AppendLogits(step.logits);
  AppendCompared(step.logits, &header);
  header.prefill_tiles = Append<PrefillTile>(tiles_);
  // Decode items carry their gaps.
  if (!tiles_.empty() && !step.windows.empty()) header.windows = Append(step.windows);
  header.sink_tokens = step.sink_tokens;
  header.page_updates = Append(step.page_updates);
  std::memcpy(words_, &header, sizeof(header));
  return int64_t{used_} * static_cast<int64_t>(sizeof(int32_t));
}

}  // namespace skipstone::cuda
