// Backend::AddMaps on the device: which kernels run the maps of a sublayer, over which rows.
#pragma once

#include <span>

#include "engine/backend/backend.h"
#include "engine/cuda/device/device_error.h"
#include "engine/cuda/kernels/map_kernels.h"
#include "engine/cuda/products/device_weights.h"
#include "engine/cuda/products/row_products.h"

namespace skipstone::cuda {

// The maps of one sublayer in one step.
struct MapStage {
  const StepHeader* step = nullptr;
  ListKind kind = ListKind::kAttentionMap;  // or kMlpMap
  int layer = 0;
  std::span<const RowList> lists;    // by map
  std::span<const MapWeights> maps;  // by map; the same in every step
  int norm = -1;                     // number of the weight
  // Rows that launches cover whatever the lists say, at most kSkinnyRows; 0: those of the lists.
  int bound = 0;
};

// Vectors of all maps are one launch. Products of maps of up to kSkinnyRows rows are one launch for
// all `down` and one for all `up`, those of more rows the library's. Step thread only.
class MapAdder {
 public:
  struct Buffers {
    float* residual = nullptr;  // [row][hidden]
    void* normed = nullptr;     // [row][hidden], overwritten for the rows
    void* inner = nullptr;      // [row][hidden], overwritten in all rows; ranks are at most hidden
  };

  // `weights` must outlive it.
  MapAdder(const ModelShape& shape, const DeviceWeights& weights)
      : hidden_(shape.hidden), epsilon_(shape.norm_epsilon), weights_(weights) {}

  // Of rows that no two maps share.
  void Run(const MapStage& stage, const Buffers& buffers, RowProducts& products,
           cudaStream_t stream, DeviceError& error) const;

 private:
  // A chunk of maps that fits one launch.
  void RunFew(const MapStage& stage, int first, const Buffers& buffers, cudaStream_t stream,
              DeviceError& error) const;
  void RunByLibrary(const MapStage& stage, int map, const Buffers& buffers, RowProducts& products,
                    cudaStream_t stream, DeviceError& error) const;
  MapVectors VectorsOf(const MapWeights& map) const;
  bool IsRankOne(const MapWeights& map) const {
    return map.down.index >= 0 && weights_[map.down.index].is_vector;
  }
  bool HasProduct(const MapWeights& map) const { return map.up.index >= 0 && !IsRankOne(map); }

  int hidden_;
  float epsilon_;
  const DeviceWeights& weights_;
};

}  // namespace skipstone::cuda
