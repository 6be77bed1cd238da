// Adds what fitted maps make of rows whose sublayer is skipped: Backend::AddMaps on the CPU.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/cpu/buffer.h"
#include "engine/cpu/matmul.h"
#include "engine/cpu/thread_pool.h"
#include "engine/cpu/weight_store.h"
#include "engine/step/step_input.h"

namespace skipstone {

// One thread, the pool's caller, may call.
class MapAdder {
 public:
  // The references must outlive it; `weights` has all maps when Run is called.
  MapAdder(const ModelShape& shape, const WeightStore& weights, ThreadPool& pool, MatMul& matmul)
      : shape_(shape), weights_(weights), pool_(pool), matmul_(matmul) {}

  struct Buffers {
    Matrix& residual;  // [row][hidden], in and out
    Matrix& normed;    // [row][hidden], overwritten
    Matrix& inner;     // [row][at least any rank], overwritten
  };
  // For the rows of lists[i], of which none is in two lists: x = RmsNorm(residual) * norm [hidden];
  // residual += up (down x) + scale * x + bias of maps[i]. A row's result is bitwise independent of
  // the other rows and maps.
  void Run(std::span<const RowList> lists, std::span<const MapWeights> maps, const float* norm,
           const Buffers& buffers);

 private:
  struct MappedRow {
    int32_t row;
    const MapWeights* map;
  };
  void AddVectors(const MappedRow& mapped, const float* norm, const Buffers& buffers) const;
  void AddProducts(std::span<const RowList> lists, std::span<const MapWeights> maps,
                   const Buffers& buffers);

  const ModelShape shape_;
  const WeightStore& weights_;
  ThreadPool& pool_;
  MatMul& matmul_;
  std::vector<MappedRow> rows_;  // of one Run, as are the products
  std::vector<MatMulJob> downs_;
  std::vector<MatMulJob> ups_;
};

}  // namespace skipstone
