#include "engine/schedule/model_work.h"

#include <algorithm>

namespace skipstone {
namespace {

double SilentRowBytes(const ModelWork& work, const SkipSet& skip) {
  double bytes = 0;
  for (int layer = 0; layer < skip.num_layers(); ++layer) {
    bytes += BytesOf(work, PartsOf(skip, layer, /*needs_logits=*/false));
  }
  return bytes;
}

}  // namespace

double BytesOf(const ModelWork& work, const LayerParts& parts) {
  return (parts.kv ? work.kv_bytes : 0) + (parts.query ? work.query_bytes : 0) +
         (parts.mlp ? work.mlp_bytes : 0);
}

double SilentRowWork(const ModelWork& work, const SkipSet& skip) {
  return SilentRowBytes(work, skip) / SilentRowBytes(work, SkipSet(skip.num_layers()));
}

}  // namespace skipstone
