#include "engine/schedule/model_work.h"

#include <algorithm>

namespace skipstone {
namespace {

double RowBytes(const ModelWork& work, const SkipSet& skip, int last) {
  double bytes = 0;
  for (int layer = 0; layer < skip.num_layers(); ++layer) {
    bytes += BytesOf(work, PartsOf(skip, layer, last));
  }
  return bytes;
}

}  // namespace

double BytesOf(const ModelWork& work, const LayerParts& parts) {
  return (parts.kv ? work.kv_bytes : 0) + (parts.query ? work.query_bytes : 0) +
         (parts.mlp ? work.mlp_bytes : 0);
}

double RowWork(const ModelWork& work, const SkipSet& skip, int last) {
  const SkipSet none(skip.num_layers());
  return RowBytes(work, skip, last) / RowBytes(work, none, none.LastKeptAttention());
}

}  // namespace skipstone
