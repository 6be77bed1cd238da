#include "engine/quality/window_step.h"

#include <algorithm>
#include <numeric>

namespace skipstone::quality {

void WindowStep::Build(std::span<const int32_t> window, std::span<const Variant> variants) {
  variants_ = variants;
  rows_ = static_cast<int>(window.size()) - 1;
  Place();
  FillRows(window);
  FillWindows();
  FillPages(window);
  // The bound of all lists, so that pointers into them stay valid.
  size_t maps = 0;
  for (const LayerMaps& layer : maps_) maps += layer.attention.size() + layer.mlp.size();
  index_.clear();
  index_.reserve(tokens_.size() * (2 * num_layers_ + maps));
  map_lists_.clear();
  map_lists_.reserve(maps);
  layers_.clear();
  for (int layer = 0; layer < num_layers_; ++layer) layers_.push_back(ListsOf(layer));
  input_ = {.tokens = tokens_,
            .positions = positions_,
            .slots = slots_,
            .layers = layers_,
            .logits = logits_,
            .runs = runs_,
            .sets = sets_,
            .windows = windows_,
            .sink_tokens = kSinkTokens,
            .slot_starts = {},
            .page_updates = pages_};
}

// Rows that need logits precede all others.
void WindowStep::Place() {
  order_.resize(variants_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::ranges::stable_partition(order_, [this](int variant) { return ToHead(variant); });
  place_.resize(variants_.size());
  for (size_t i = 0; i < order_.size(); ++i) place_[order_[i]] = static_cast<int>(i);
}

void WindowStep::FillRows(std::span<const int32_t> window) {
  tokens_.clear();
  positions_.clear();
  slots_.clear();
  sets_.clear();
  logits_.clear();
  runs_.clear();
  for (int32_t place = 0; place < std::ssize(order_); ++place) {
    const int variant = order_[place];
    const int reference = variants_[variant].reference;
    runs_.push_back({place * rows_, rows_});
    for (int32_t row = 0; row < rows_; ++row) {
      tokens_.push_back(window[row]);
      positions_.push_back(row);
      slots_.push_back(place);
      sets_.push_back(place);
      if (!ToHead(variant)) continue;
      logits_.push_back({.slot = place,
                         .position = row,
                         .target = window[row + 1],
                         .top_n = 1,
                         .reference = reference < 0 ? -1 : FirstRow(reference) + row});
    }
  }
}

void WindowStep::FillWindows() {
  windows_.clear();
  const auto windowed = [](const Variant& v) { return v.skip.WindowedAttention() > 0; };
  if (std::ranges::none_of(variants_, windowed)) return;
  for (const int variant : order_) {
    for (int layer = 0; layer < num_layers_; ++layer) {
      windows_.push_back(variants_[variant].skip.Window(layer));
    }
  }
}

// K and V of a layer are read within the layer only, so the layers of a slot share their pages.
void WindowStep::FillPages(std::span<const int32_t> window) {
  const int blocks = (static_cast<int>(window.size()) + page_tokens_ - 1) / page_tokens_;
  pages_.clear();
  for (int32_t slot = 0; slot < std::ssize(order_); ++slot) {
    for (int layer = 0; layer < num_layers_; ++layer) {
      for (int block = 0; block < blocks; ++block) {
        pages_.push_back({slot, layer, block, slot * blocks + block});
      }
    }
  }
}

LayerRows WindowStep::ListsOf(int layer) {
  LayerRows rows;
  rows.kv_rows = rows.query_rows = MakeList([&](int variant) {
    return Runs(variant, AttentionPoint(layer)) && variants_[variant].skip.KeepsAttention(layer);
  });
  rows.mlp_rows = MakeList([&](int variant) {
    return Runs(variant, MlpPoint(layer)) && variants_[variant].skip.KeepsMlp(layer);
  });
  if (maps_.empty()) return rows;
  const auto lists = [&](std::span<const uint64_t> maps, Point point, auto map_of) {
    const size_t first = map_lists_.size();
    bool any = false;
    for (const uint64_t map : maps) {
      map_lists_.push_back(MakeList([&](int variant) {
        return Runs(variant, point) && map_of(variants_[variant].skip) == map;
      }));
      any = any || !map_lists_.back().empty();
    }
    return any ? std::span<const RowList>(map_lists_.data() + first, maps.size())
               : std::span<const RowList>();
  };
  rows.attention_maps = lists(maps_[layer].attention, AttentionPoint(layer),
                              [&](const SkipSet& skip) { return skip.AttentionMap(layer); });
  rows.mlp_maps = lists(maps_[layer].mlp, MlpPoint(layer),
                        [&](const SkipSet& skip) { return skip.MlpMap(layer); });
  return rows;
}

template <class Takes>
RowList WindowStep::MakeList(Takes takes) {
  RowList list;
  bool contiguous = true;
  for (const int variant : order_) {
    if (!takes(variant)) continue;
    if (list.count == 0) list.begin = FirstRow(variant);
    contiguous &= FirstRow(variant) == list.begin + list.count;
    list.count += rows_;
  }
  if (contiguous) return list;
  list.index = index_.data() + index_.size();
  for (const int variant : order_) {
    if (!takes(variant)) continue;
    for (int row = 0; row < rows_; ++row) index_.push_back(FirstRow(variant) + row);
  }
  return list;
}

}  // namespace skipstone::quality
