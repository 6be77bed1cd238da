#include "engine/cpu/map_adder.h"

#include "base/check.h"
#include "engine/cpu/dot_block.h"
#include "engine/cpu/vector_ops.h"

namespace skipstone {
namespace {

bool HasProduct(const MapWeights& map) { return map.up.index >= 0; }
bool IsLowRank(const MapWeights& map) { return map.down.index >= 0; }

}  // namespace

void MapAdder::Run(std::span<const RowList> lists, std::span<const MapWeights> maps,
                   const float* norm, const Buffers& buffers) {
  SKIPSTONE_CHECK(lists.size() == maps.size());
  bool products = false;
  rows_.clear();
  for (size_t i = 0; i < maps.size(); ++i) {
    for (int r = 0; r < lists[i].count; ++r) rows_.push_back({lists[i][r], &maps[i]});
    products |= HasProduct(maps[i]) && !lists[i].empty();
  }
  pool_.ParallelFor(std::ssize(rows_),
                    [&](int64_t i, int) { AddVectors(rows_[i], norm, buffers); });
  if (products) AddProducts(lists, maps, buffers);
}

// Scale and bias; the normed input is stored only where a product needs it.
void MapAdder::AddVectors(const MappedRow& mapped, const float* norm,
                          const Buffers& buffers) const {
  const MapWeights& map = *mapped.map;
  float* residual = buffers.residual.row(mapped.row);
  if (HasProduct(map)) {
    float* normed = buffers.normed.row(mapped.row);
    RmsNorm(residual, norm, shape_.norm_epsilon, shape_.hidden, normed);
    ArrangeInput(weights_.matrix(IsLowRank(map) ? map.down : map.up).type, shape_.hidden, normed);
  }
  const float* scale = weights_.vector(map.scale);
  const float* bias = weights_.vector(map.bias);
  if (scale != nullptr) {
    AddScaledNorm(norm, shape_.norm_epsilon, scale, bias, shape_.hidden, residual);
  } else if (bias != nullptr) {
    AddTo(bias, shape_.hidden, residual);
  }
}

// The products of all maps side by side: first those with `down`.
void MapAdder::AddProducts(std::span<const RowList> lists, std::span<const MapWeights> maps,
                           const Buffers& buffers) {
  downs_.clear();
  ups_.clear();
  for (size_t i = 0; i < maps.size(); ++i) {
    if (!HasProduct(maps[i]) || lists[i].empty()) continue;
    const bool low_rank = IsLowRank(maps[i]);
    if (low_rank) {
      downs_.push_back({.rows = lists[i],
                        .input = &buffers.normed,
                        .weight = weights_.matrix(maps[i].down),
                        .output = &buffers.inner});
    }
    ups_.push_back({.rows = lists[i],
                    .input = low_rank ? &buffers.inner : &buffers.normed,
                    .weight = weights_.matrix(maps[i].up),
                    .output = &buffers.residual,
                    .store = MatMulJob::Store::kAdd});
  }
  matmul_.Run(downs_);
  for (const MatMulJob& up : ups_) {
    if (up.input != &buffers.inner) continue;
    pool_.ParallelFor(up.rows.count, [&](int64_t i, int) {
      ArrangeInput(up.weight.type, up.weight.cols, up.input->row(up.rows[i]));
    });
  }
  matmul_.Run(ups_);
}

}  // namespace skipstone
