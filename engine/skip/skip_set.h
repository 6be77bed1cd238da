// A skip set: which attention and MLP sublayers of a model are the identity for one request.
//
//   SkipSet skip(32);
//   skip.SkipAttention(31);
//   skip.ToString();               // "attn:31"
//   skip.LastKeptAttention();      // 30
#pragma once

#include <bitset>
#include <cstdint>
#include <string>

namespace skipstone {

// Bound of the layer bit sets; Llama 2 70B has 80.
inline constexpr int kMaxLayers = 128;

using LayerBits = std::bitset<kMaxLayers>;

// A value; not thread-safe while changed.
class SkipSet {
 public:
  SkipSet() = default;
  // Skips nothing. 0 <= num_layers <= kMaxLayers.
  explicit SkipSet(int num_layers);

  void SkipAttention(int layer);
  void SkipMlp(int layer);

  int num_layers() const { return num_layers_; }
  bool KeepsAttention(int layer) const { return !attention_[layer]; }
  bool KeepsMlp(int layer) const { return !mlp_[layer]; }
  int SkippedAttention() const { return static_cast<int>(attention_.count()); }
  int SkippedMlp() const { return static_cast<int>(mlp_.count()); }
  int KeptAttention() const { return num_layers_ - SkippedAttention(); }
  // Index of the deepest layer whose attention runs, -1 if none does.
  int LastKeptAttention() const { return last_kept_attention_; }
  bool SkipsEverything() const;
  // True if every sublayer that `other` skips is skipped here too.
  bool Contains(const SkipSet& other) const;

  const LayerBits& attention() const { return attention_; }
  const LayerBits& mlp() const { return mlp_; }

  // Canonical form: equal sets have equal texts. "none", "attn:20-31+mlp:30".
  std::string ToString() const;
  // FNV-1a 64 of the canonical form.
  uint64_t id() const;

  friend bool operator==(const SkipSet& a, const SkipSet& b) {
    return a.num_layers_ == b.num_layers_ && a.attention_ == b.attention_ && a.mlp_ == b.mlp_;
  }

 private:
  int num_layers_ = 0;
  int last_kept_attention_ = -1;
  LayerBits attention_;
  LayerBits mlp_;
};

// A skip set and since when it is in force: sets change while a sequence runs if layers are shed.
struct AppliedRange {
  int from_token = 0;  // index of the first generated token under `skip`
  SkipSet skip;
};

}  // namespace skipstone
