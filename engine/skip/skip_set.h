// A skip set: what one request does without. An attention sublayer is full, windowed (it sees the
// first positions and the last ones only) or skipped; an MLP is kept or skipped. What is skipped is
// the identity, or a fitted map stands in for it (skip/sublayer_maps).
//
//   SkipSet skip(32);
//   skip.SkipAttention(31);
//   skip.WindowAttention(30, 64);
//   skip.ToString();               // "attn:31+win:30/64"
//   skip.LastKeptAttention();      // 30
//   skip.LastFullAttention();      // 29
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "engine/skip/sublayer_maps.h"

namespace skipstone {

using LayerBits = std::bitset<kMaxLayers>;

// A windowed layer lets a row at position t see the positions p <= t with p < kSinkTokens or
// t - p < W (SEMANTICS "Windowed attention"). W is a multiple of kWindowUnit.
inline constexpr int kSinkTokens = 16;
inline constexpr int kWindowUnit = 8;
inline constexpr int kMinWindow = 16;
inline constexpr int kMaxWindow = 1 << 18;

constexpr bool IsWindow(int64_t tokens) {
  return tokens >= kMinWindow && tokens <= kMaxWindow && tokens % kWindowUnit == 0;
}

// A value; not thread-safe while changed.
class SkipSet {
 public:
  SkipSet() = default;
  // Skips nothing. 0 <= num_layers <= kMaxLayers.
  explicit SkipSet(int num_layers);

  void SkipAttention(int layer);
  // IsWindow(tokens). The layer's attention is kept.
  void WindowAttention(int layer, int tokens);
  void SkipMlp(int layer);
  // A map of this fingerprint (not 0) stands in for a sublayer that is skipped.
  void MapAttention(int layer, uint64_t map);
  void MapMlp(int layer, uint64_t map);
  // Of all sublayers above the attention of `layer` that are skipped here: the map that `other` has
  // there, or none. K and V of no layer up to `layer` depend on them.
  void TakeMapsAbove(int layer, const SkipSet& other);

  int num_layers() const { return num_layers_; }
  // Full or windowed.
  bool KeepsAttention(int layer) const { return !attention_[layer]; }
  // Last positions that the layer sees; 0: all, or it is skipped.
  int Window(int layer) const { return windows_[layer] * kWindowUnit; }
  bool KeepsMlp(int layer) const { return !mlp_[layer]; }
  int SkippedAttention() const { return static_cast<int>(attention_.count()); }
  int SkippedMlp() const { return static_cast<int>(mlp_.count()); }
  int KeptAttention() const { return num_layers_ - SkippedAttention(); }
  int WindowedAttention() const { return windowed_; }
  // Layers whose attention sees all positions.
  int FullAttention() const { return KeptAttention() - windowed_; }
  // Index of the deepest layer whose attention runs, -1 if none does.
  int LastKeptAttention() const { return last_kept_attention_; }
  // Index of the deepest layer that sees all positions, -1 if none does.
  int LastFullAttention() const;
  // The narrowest window; 0 if there is none.
  int SmallestWindow() const;
  bool SkipsEverything() const;
  // 0: none; then a skipped sublayer is the identity.
  uint64_t AttentionMap(int layer) const { return maps_ ? maps_->attention[layer] : 0; }
  uint64_t MlpMap(int layer) const { return maps_ ? maps_->mlp[layer] : 0; }
  bool HasMaps() const { return maps_ != nullptr; }
  // Of all maps, as the text has it behind '@'; 0: there is none.
  uint64_t maps_hash() const { return maps_ ? maps_->hash : 0; }
  // The same sublayers skipped, none with a map.
  SkipSet WithoutMaps() const;
  // True if every sublayer that `other` skips is skipped here too, and every layer that it windows
  // is skipped here or has the same window. Maps are not compared.
  bool Contains(const SkipSet& other) const;
  // What lies below the attention of `layer`: all that its K and V depend on beside the tokens.
  SkipSet Below(int layer) const;

  const LayerBits& attention() const { return attention_; }
  const LayerBits& mlp() const { return mlp_; }

  // Canonical form: equal sets have equal texts. "none", "attn:20-31+win:16-19/64+mlp:30"; where
  // there are maps '@' and their hash, 16 hexadecimal digits, follow.
  std::string ToString() const;
  // FNV-1a 64 of the canonical form.
  uint64_t id() const;

  friend bool operator==(const SkipSet& a, const SkipSet& b) {
    return a.num_layers_ == b.num_layers_ && a.attention_ == b.attention_ && a.mlp_ == b.mlp_ &&
           a.windowed_ == b.windowed_ && (a.windowed_ == 0 || a.windows_ == b.windows_) &&
           SameMaps(a.maps_.get(), b.maps_.get());
  }
  template <class H>
  friend H AbslHashValue(H state, const SkipSet& skip) {
    const std::hash<LayerBits> hash;
    state = H::combine(std::move(state), hash(skip.attention_), hash(skip.mlp_), skip.windowed_,
                       skip.maps_ ? skip.maps_->hash : 0);
    return skip.windowed_ == 0 ? std::move(state) : H::combine(std::move(state), skip.windows_);
  }

 private:
  // Replaces the maps; none if `maps` has none.
  void SetMaps(SublayerMaps maps);

  int num_layers_ = 0;
  int last_kept_attention_ = -1;
  int windowed_ = 0;  // layers
  LayerBits attention_;
  LayerBits mlp_;
  std::array<uint16_t, kMaxLayers> windows_{};  // in units; 0: none
  std::shared_ptr<const SublayerMaps> maps_;    // null: none
};

// A skip set and since when it is in force: sets change while a sequence runs if layers are shed.
struct AppliedRange {
  int from_token = 0;  // index of the first generated token under `skip`
  SkipSet skip;
};

}  // namespace skipstone
