#include "engine/skip/liveness.h"

namespace skipstone {

LayerParts PartsOf(const SkipSet& skip, int layer, bool needs_logits) {
  const int last = skip.LastKeptAttention();
  const bool lives = needs_logits || layer < last;
  return {.kv = skip.KeepsAttention(layer) && (lives || layer == last),
          .query = skip.KeepsAttention(layer) && lives,
          .mlp = skip.KeepsMlp(layer) && lives};
}

bool RowsRun(const SkipSet& skip, bool needs_logits) {
  return needs_logits || skip.LastKeptAttention() >= 0;
}

int SublayersEliminated(const SkipSet& skip) {
  int sublayers = 0;
  for (int layer = 0; layer < skip.num_layers(); ++layer) {
    const LayerParts kept = PartsOf(skip, layer, /*needs_logits=*/true);
    const LayerParts run = PartsOf(skip, layer, /*needs_logits=*/false);
    sublayers += (kept.kv != run.kv) + (kept.mlp != run.mlp);
  }
  return sublayers;
}

}  // namespace skipstone
