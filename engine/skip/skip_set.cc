#include "engine/skip/skip_set.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/hash.h"

namespace skipstone {
namespace {

// "attn:3,5-7", or nothing if `item` is empty for every layer. Layers with equal items (the text
// behind their range) that follow each other are one range.
template <class Item>
std::string RangesOf(const char* kind, int num_layers, Item item) {
  std::string text;
  for (int first = 0; first < num_layers; ++first) {
    const std::optional<std::string> suffix = item(first);
    if (!suffix) continue;
    int last = first;
    while (last + 1 < num_layers && item(last + 1) == suffix) ++last;
    text += text.empty() ? absl::StrFormat("%s:", kind) : ",";
    text += first == last ? absl::StrFormat("%d", first) : absl::StrFormat("%d-%d", first, last);
    text += *suffix;
    first = last;
  }
  return text;
}

// FNV-1a 64 of ten bytes for each map, by layer, attention first: 'a' or 'm', the layer, and the
// fingerprint from its lowest byte up.
uint64_t HashOf(const SublayerMaps& maps) {
  uint64_t hash = Fnv1a64("");
  const auto add = [&hash](char sublayer, const auto& fingerprints) {
    for (int layer = 0; layer < kMaxLayers; ++layer) {
      if (fingerprints[layer] == 0) continue;
      char bytes[10] = {sublayer, static_cast<char>(layer)};
      for (int i = 0; i < 8; ++i) bytes[2 + i] = static_cast<char>(fingerprints[layer] >> (8 * i));
      hash = Fnv1a64({bytes, sizeof(bytes)}, hash);
    }
  };
  add('a', maps.attention);
  add('m', maps.mlp);
  return hash;
}

}  // namespace

SkipSet::SkipSet(int num_layers) : num_layers_(num_layers), last_kept_attention_(num_layers - 1) {
  SKIPSTONE_CHECK(num_layers >= 0 && num_layers <= kMaxLayers);
}

void SkipSet::SkipAttention(int layer) {
  SKIPSTONE_CHECK(layer >= 0 && layer < num_layers_);
  attention_.set(layer);
  if (std::exchange(windows_[layer], 0) != 0) --windowed_;
  while (last_kept_attention_ >= 0 && attention_[last_kept_attention_]) --last_kept_attention_;
}

void SkipSet::WindowAttention(int layer, int tokens) {
  SKIPSTONE_CHECK(layer >= 0 && layer < num_layers_ && KeepsAttention(layer));
  SKIPSTONE_CHECK(IsWindow(tokens));
  if (windows_[layer] == 0) ++windowed_;
  windows_[layer] = static_cast<uint16_t>(tokens / kWindowUnit);
}

void SkipSet::SkipMlp(int layer) {
  SKIPSTONE_CHECK(layer >= 0 && layer < num_layers_);
  mlp_.set(layer);
}

bool SkipSet::SkipsEverything() const {
  return SkippedAttention() == num_layers_ && SkippedMlp() == num_layers_;
}

int SkipSet::LastFullAttention() const {
  int layer = last_kept_attention_;
  while (layer >= 0 && (attention_[layer] || windows_[layer] != 0)) --layer;
  return layer;
}

int SkipSet::SmallestWindow() const {
  int smallest = 0;
  for (int layer = 0; layer < num_layers_ && windowed_ > 0; ++layer) {
    const int window = Window(layer);
    if (window > 0 && (smallest == 0 || window < smallest)) smallest = window;
  }
  return smallest;
}

bool SkipSet::Contains(const SkipSet& other) const {
  for (int layer = 0; layer < other.num_layers_ && other.windowed_ > 0; ++layer) {
    if (other.windows_[layer] == 0 || attention_[layer]) continue;
    if (other.windows_[layer] != windows_[layer]) return false;
  }
  return (other.attention_ & ~attention_).none() && (other.mlp_ & ~mlp_).none();
}

SkipSet SkipSet::Below(int layer) const {
  SkipSet below(num_layers_);
  for (int lower = 0; lower < layer; ++lower) {
    if (!KeepsAttention(lower)) below.SkipAttention(lower);
    if (!KeepsMlp(lower)) below.SkipMlp(lower);
    if (windows_[lower] != 0) below.WindowAttention(lower, Window(lower));
  }
  if (maps_) {
    SublayerMaps maps = *maps_;
    for (int upper = layer; upper < num_layers_; ++upper) {
      maps.attention[upper] = maps.mlp[upper] = 0;
    }
    below.SetMaps(std::move(maps));
  }
  return below;
}

void SkipSet::MapAttention(int layer, uint64_t map) {
  SKIPSTONE_CHECK(layer >= 0 && layer < num_layers_ && !KeepsAttention(layer) && map != 0);
  SublayerMaps maps = maps_ ? *maps_ : SublayerMaps();
  maps.attention[layer] = map;
  SetMaps(std::move(maps));
}

void SkipSet::MapMlp(int layer, uint64_t map) {
  SKIPSTONE_CHECK(layer >= 0 && layer < num_layers_ && !KeepsMlp(layer) && map != 0);
  SublayerMaps maps = maps_ ? *maps_ : SublayerMaps();
  maps.mlp[layer] = map;
  SetMaps(std::move(maps));
}

void SkipSet::TakeMapsAbove(int layer, const SkipSet& other) {
  if (!maps_ && !other.maps_) return;
  SublayerMaps maps = maps_ ? *maps_ : SublayerMaps();
  for (int upper = std::max(layer, 0); upper < num_layers_; ++upper) {
    if (upper > layer) maps.attention[upper] = attention_[upper] ? other.AttentionMap(upper) : 0;
    maps.mlp[upper] = mlp_[upper] ? other.MlpMap(upper) : 0;
  }
  SetMaps(std::move(maps));
}

SkipSet SkipSet::WithoutMaps() const {
  SkipSet plain = *this;
  plain.maps_ = nullptr;
  return plain;
}

void SkipSet::SetMaps(SublayerMaps maps) {
  const auto some = [](uint64_t map) { return map != 0; };
  if (std::ranges::none_of(maps.attention, some) && std::ranges::none_of(maps.mlp, some)) {
    maps_ = nullptr;
    return;
  }
  maps.hash = HashOf(maps);
  maps_ = std::make_shared<const SublayerMaps>(std::move(maps));
}

std::string SkipSet::ToString() const {
  const auto set = [](const LayerBits& bits) {
    return [&bits](int layer) { return bits[layer] ? std::optional(std::string()) : std::nullopt; };
  };
  const auto window = [this](int layer) {
    return windows_[layer] ? std::optional(absl::StrFormat("/%d", Window(layer))) : std::nullopt;
  };
  std::vector<std::string> terms = {RangesOf("attn", num_layers_, set(attention_)),
                                    RangesOf("win", num_layers_, window),
                                    RangesOf("mlp", num_layers_, set(mlp_))};
  std::erase(terms, "");
  std::string text = terms.empty() ? "none" : absl::StrJoin(terms, "+");
  if (maps_) absl::StrAppendFormat(&text, "@%016x", maps_->hash);
  return text;
}

uint64_t SkipSet::id() const { return Fnv1a64(ToString()); }

}  // namespace skipstone
