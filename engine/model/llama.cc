#include "engine/model/llama.h"

namespace skipstone {

void Forward(const StepInput& step, const Weights& weights, Backend& backend) {
  backend.Embed(weights.embedding);
  for (int l = 0; l < static_cast<int>(step.layers.size()); ++l) {
    const LayerRows& rows = step.layers[l];
    const LayerWeights& w = weights.layers[l];
    if (!rows.kv_rows.empty()) {
      backend.QkvStore(l, w.attention_norm, w.qkv);
      backend.Attend(l);
      backend.ProjectAdd(l, Sublayer::kAttention, w.o);
    }
    if (!rows.attention_maps.empty()) {
      backend.AddMaps(l, Sublayer::kAttention, w.attention_norm, w.attention_maps);
    }
    if (!rows.mlp_rows.empty()) {
      backend.GateUp(l, w.mlp_norm, w.gate_up);
      backend.ProjectAdd(l, Sublayer::kMlp, w.down);
    }
    if (!rows.mlp_maps.empty()) backend.AddMaps(l, Sublayer::kMlp, w.mlp_norm, w.mlp_maps);
  }
  if (!step.logits.empty()) backend.Logits(weights.final_norm, weights.head);
}

}  // namespace skipstone
