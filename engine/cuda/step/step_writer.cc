#include "engine/cuda/step/step_writer.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace skipstone::cuda {
namespace {

template <class T>
constexpr int64_t kWordsOf = sizeof(T) / sizeof(int32_t);

}  // namespace

StepWriter::StepWriter(const ModelShape& shape, const StepLimits& limits, const DecodeSplit& split)
    : split_(split), num_layers_(shape.num_layers), vocab_(shape.vocab) {
  const int64_t rows = limits.max_rows;
  // A page per row and layer, and what sequences that find their prompt cached bring along.
  max_deltas_ = rows * num_layers_ + 4096;
  max_words_ = kWordsOf<StepHeader> + 3 * rows +
               num_layers_ * kListsPerLayer * (kWordsOf<DeviceRowList> + rows) +
               limits.max_logits_rows * kWordsOf<DeviceLogitsRow> +
               split_.MaxItems(limits.max_rows) * kWordsOf<DecodeItem> +
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

void StepWriter::PlanAttention(const StepInput& step) {
  decode_rows_.clear();
  items_.clear();
  tiles_.clear();
  for (const RowRun& run : step.runs) {
    if (run.count == 1) {
      decode_rows_.push_back({run.begin, step.positions[run.begin] + 1});
      continue;
    }
    for (int32_t i = 0; i < run.count; i += kPrefillRows) {
      tiles_.push_back({run.begin + i, std::min(kPrefillRows, run.count - i)});
    }
  }
  split_.Plan(decode_rows_, items_);
}

int64_t StepWriter::Write(const StepInput& step, void* to) {
  static_assert(sizeof(PageUpdate) == sizeof(DevicePageUpdate));
  words_ = static_cast<int32_t*>(to);
  used_ = kWordsOf<StepHeader>;
  PlanAttention(step);
  StepHeader header = {};
  header.num_rows = static_cast<int32_t>(step.tokens.size());
  header.num_logits = static_cast<int32_t>(step.logits.size());
  header.num_decode_items = static_cast<int32_t>(items_.size());
  header.num_prefill_tiles = static_cast<int32_t>(tiles_.size());
  header.num_page_updates = static_cast<int32_t>(step.page_updates.size());
  header.tokens = Append(step.tokens);
  header.positions = Append(step.positions);
  header.slots = Append(step.slots);
  header.lists = AppendLists(step.layers);
  header.logits = AppendLogits(step.logits);
  header.decode_items = Append<DecodeItem>(items_);
  header.prefill_tiles = Append<PrefillTile>(tiles_);
  header.page_updates = Append(step.page_updates);
  std::memcpy(words_, &header, sizeof(header));
  return int64_t{used_} * static_cast<int64_t>(sizeof(int32_t));
}

}  // namespace skipstone::cuda
