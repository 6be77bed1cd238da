#include "engine/skip/skip_set.h"

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/hash.h"

namespace skipstone {
namespace {

// "attn:3,5-7", or nothing if no bit is set.
std::string RangesOf(const char* kind, const LayerBits& bits, int num_layers) {
  std::string text;
  for (int first = 0; first < num_layers; ++first) {
    if (!bits[first]) continue;
    int last = first;
    while (last + 1 < num_layers && bits[last + 1]) ++last;
    text += text.empty() ? absl::StrFormat("%s:", kind) : ",";
    text += first == last ? absl::StrFormat("%d", first) : absl::StrFormat("%d-%d", first, last);
    first = last;
  }
  return text;
}

}  // namespace

SkipSet::SkipSet(int num_layers) : num_layers_(num_layers), last_kept_attention_(num_layers - 1) {
  SKIPSTONE_CHECK(num_layers >= 0 && num_layers <= kMaxLayers);
}

void SkipSet::SkipAttention(int layer) {
  SKIPSTONE_CHECK(layer >= 0 && layer < num_layers_);
  attention_.set(layer);
  while (last_kept_attention_ >= 0 && attention_[last_kept_attention_]) --last_kept_attention_;
}

void SkipSet::SkipMlp(int layer) {
  SKIPSTONE_CHECK(layer >= 0 && layer < num_layers_);
  mlp_.set(layer);
}

bool SkipSet::SkipsEverything() const {
  return SkippedAttention() == num_layers_ && SkippedMlp() == num_layers_;
}

bool SkipSet::Contains(const SkipSet& other) const {
  return (other.attention_ & ~attention_).none() && (other.mlp_ & ~mlp_).none();
}

std::string SkipSet::ToString() const {
  const std::string attention = RangesOf("attn", attention_, num_layers_);
  const std::string mlp = RangesOf("mlp", mlp_, num_layers_);
  if (attention.empty() && mlp.empty()) return "none";
  if (attention.empty() || mlp.empty()) return attention + mlp;
  return attention + "+" + mlp;
}

uint64_t SkipSet::id() const { return Fnv1a64(ToString()); }

}  // namespace skipstone
