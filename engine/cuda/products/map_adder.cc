#include "engine/cuda/products/map_adder.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "engine/cuda/kernels/skinny_matmul.h"

namespace skipstone::cuda {

void MapAdder::Run(const MapStage& stage, const Buffers& buffers, RowProducts& products,
                   cudaStream_t stream, DeviceError& error) const {
  SKIPSTONE_CHECK(stage.lists.size() == stage.maps.size());
  const int maps = static_cast<int>(stage.maps.size());
  for (int first = 0; first < maps; first += kMapsPerLaunch) {
    RunFew(stage, first, buffers, stream, error);
  }
  for (int map = 0; map < maps && stage.bound == 0; ++map) {
    if (!HasProduct(stage.maps[map]) || stage.lists[map].count <= kSkinnyRows) continue;
    RunByLibrary(stage, map, buffers, products, stream, error);
  }
}

// Vectors of all rows, and products of maps that have few.
void MapAdder::RunFew(const MapStage& stage, int first, const Buffers& buffers, cudaStream_t stream,
                      DeviceError& error) const {
  const int count = std::min(kMapsPerLaunch, static_cast<int>(stage.maps.size()) - first);
  MapVectorsArgs vectors{.step = stage.step,
                         .kind = stage.kind,
                         .layer = stage.layer,
                         .first = first,
                         .count = count,
                         .norm = weights_[stage.norm].vector(),
                         .epsilon = epsilon_,
                         .hidden = hidden_,
                         .type = weights_.type(),
                         .residual = buffers.residual,
                         .normed = buffers.normed};
  MapProductsArgs downs{.step = stage.step,
                        .kind = stage.kind,
                        .layer = stage.layer,
                        .x = buffers.normed,
                        .x_stride = hidden_,
                        .type = weights_.type(),
                        .may_be_empty = true};
  MapProductsArgs full = downs;
  MapProductsArgs ups = downs;
  ups.x = buffers.inner;
  int most = 0;  // rows of a map with a product
  for (int i = 0; i < count; ++i) {
    const MapWeights& map = stage.maps[first + i];
    vectors.maps[i] = VectorsOf(map);
    const int rows = stage.bound > 0 ? stage.bound : stage.lists[first + i].count;
    if (!HasProduct(map) || rows > kSkinnyRows) continue;
    most = std::max(most, rows);
    const DeviceWeight& up = weights_[map.up.index];
    const MapProduct product{first + i, up.memory.as<void>(), hidden_, up.cols};
    if (map.down.index < 0) {
      full.products[full.count++] = product;
      continue;
    }
    ups.products[ups.count++] = product;
    // The rows behind the rank are zeros: so is what `up` finds there.
    downs.products[downs.count++] = {first + i, weights_[map.down.index].memory.as<void>(), up.cols,
                                     hidden_};
  }
  int rows = stage.bound;
  if (rows == 0) {
    for (const RowList& list : stage.lists) rows += list.count;
  }
  error.Note(LaunchMapVectors(vectors, rows, stream), "map_vectors");
  error.Note(LaunchMapUp(full, buffers.residual, most, stream), "map_full");
  error.Note(LaunchMapDown(downs, buffers.inner, hidden_, most, stream), "map_down");
  error.Note(LaunchMapUp(ups, buffers.residual, most, stream), "map_up");
}

void MapAdder::RunByLibrary(const MapStage& stage, int map, const Buffers& buffers,
                            RowProducts& products, cudaStream_t stream, DeviceError& error) const {
  const MapWeights& weights = stage.maps[map];
  const DeviceWeight& up = weights_[weights.up.index];
  RowProduct product{.type = weights_.type(),
                     .source = {stage.kind, stage.layer, map, std::numeric_limits<int32_t>::max()},
                     .rows = stage.lists[map],
                     .x = buffers.normed};
  if (weights.down.index >= 0) {
    product.weight = weights_[weights.down.index].memory.as<void>();
    product.outputs = product.y_stride = up.cols;
    product.inputs = hidden_;
    product.y = buffers.inner;
    products.Run(product, stage.step, stream, error);
    product.x = buffers.inner;
  }
  product.weight = up.memory.as<void>();
  product.outputs = product.y_stride = hidden_;
  product.inputs = up.cols;
  product.y = buffers.residual;
  product.add = true;
  products.Run(product, stage.step, stream, error);
}

MapVectors MapAdder::VectorsOf(const MapWeights& map) const {
  MapVectors vectors{.bias = weights_.VectorOf(map.bias.index),
                     .scale = weights_.VectorOf(map.scale.index),
                     .product = HasProduct(map)};
  if (!IsRankOne(map)) return vectors;
  const DeviceWeight& up = weights_[map.up.index];
  vectors.down = weights_[map.down.index].vector();
  vectors.up = up.memory.as<void>();
  vectors.up_stride = up.cols;
  return vectors;
}

}  // namespace skipstone::cuda
