#include "engine/skip/liveness.h"

namespace skipstone {
namespace {

constexpr int RoundUp(int value, int unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

LayerParts PartsOf(const SkipSet& skip, int layer, int last) {
  const bool lives = layer < last;
  return {.kv = skip.KeepsAttention(layer) && (lives || layer == last),
          .query = skip.KeepsAttention(layer) && lives,
          .mlp = skip.KeepsMlp(layer) && lives,
          .attention_map = skip.AttentionMap(layer) != 0 && lives,
          .mlp_map = skip.MlpMap(layer) != 0 && lives};
}

int SublayersEliminated(const SkipSet& skip, int last) {
  int sublayers = 0;
  for (int layer = 0; layer < skip.num_layers(); ++layer) {
    const LayerParts kept = PartsOf(skip, layer, kAllLayers);
    const LayerParts run = PartsOf(skip, layer, last);
    sublayers += (kept.kv != run.kv) + (kept.mlp != run.mlp);
  }
  return sublayers;
}

Liveness::Liveness(const SkipSet& skip, int page_tokens)
    : page_tokens_(page_tokens), sink_(RoundUp(kSinkTokens, page_tokens)), skip_(skip) {
  const int full = skip.LastFullAttention();
  int blocks = 0;
  for (int layer = skip.LastKeptAttention(); layer > full; --layer) {
    if (!skip.KeepsAttention(layer)) continue;
    if (lasts_.size() == 1) {
      top_window_ = skip.Window(layer);
    } else {
      blocks += RoundUp(skip.Window(layer) - 1, page_tokens) / page_tokens;
    }
    lasts_.push_back(layer);
    blocks_behind_.push_back(blocks);
  }
  lasts_.push_back(full);
}

int Liveness::FirstRead(int layer, int row, int first_logits) const {
  const int window = skip_.Window(layer);
  if (window == 0) return 0;
  const auto kind = std::find(lasts_.begin(), lasts_.end() - 1, layer) - lasts_.begin();
  int first = row - window + 1;
  if (kind < num_kinds() - 1) first = std::max(first, Reach(static_cast<int>(kind), first_logits));
  return std::max(first, 0);
}

}  // namespace skipstone
