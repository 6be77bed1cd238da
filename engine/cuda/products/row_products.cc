#include "engine/cuda/products/row_products.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace skipstone::cuda {
namespace {

// Bytes of one row.
int64_t GatheredRowBytes(const ModelShape& s) {
  return int64_t{2} * std::max({s.hidden, s.q_size(), s.ffn});
}

int64_t DenseRowBytes(const ModelShape& s) {
  return std::max(
      {int64_t{2} * (s.q_size() + 2 * s.kv_size()), int64_t{4} * s.ffn, int64_t{4} * s.hidden});
}

// Writing it evicts the L2 cache.
int64_t DenseBytes(const ModelShape& shape, int max_rows) {
  int cache = 0;
  if (cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, 0) != cudaSuccess) cache = 0;
  return std::max(int64_t{cache}, max_rows * DenseRowBytes(shape));
}

}  // namespace

int64_t RowProducts::DeviceBytes(const ModelShape& shape, int max_rows) {
  return max_rows * GatheredRowBytes(shape) + DenseBytes(shape, max_rows) + kLtWorkspaceBytes;
}

absl::StatusOr<RowProducts> RowProducts::Create(const ModelShape& shape, const StepLimits& limits,
                                                const std::string& tuning_cache) {
  RowProducts made;
  SKIPSTONE_ASSIGN_OR_RETURN(made.library_, LtMatMul::Create(tuning_cache));
  SKIPSTONE_ASSIGN_OR_RETURN(
      made.gathered_,
      DeviceMemory::Allocate(limits.max_rows * GatheredRowBytes(shape), "gathered rows"));
  SKIPSTONE_ASSIGN_OR_RETURN(
      made.dense_, DeviceMemory::Allocate(DenseBytes(shape, limits.max_rows), "dense rows"));
  return made;
}

void RowProducts::RunLogits(const LtShape& shape, const void* weight, const void* x, float* logits,
                            cudaStream_t stream, DeviceError& error) {
  Tune(shape, weight, stream, error);
  error.Note(library_.Run(shape, {weight, x, logits}, stream));
}

void RowProducts::Run(const RowProduct& product, const StepHeader* step, cudaStream_t stream,
                      DeviceError& error) {
  if (product.rows.index != nullptr) return RunIndexed(product, step, stream, error);
  const int64_t x_offset = int64_t{product.rows.begin} * product.inputs * 2;
  const int64_t y_offset = int64_t{product.rows.begin} * product.y_stride * (product.add ? 4 : 2);
  const LtShape shape{.type = product.type,
                      .rows = product.rows.count,
                      .outputs = product.outputs,
                      .inputs = product.inputs,
                      .y_stride = product.y_stride,
                      .f32_output = product.add,
                      .add = product.add};
  Tune(shape, product.weight, stream, error);
  error.Note(library_.Run(shape,
                          {product.weight, static_cast<const char*>(product.x) + x_offset,
                           static_cast<char*>(product.y) + y_offset},
                          stream));
}

void RowProducts::RunIndexed(const RowProduct& product, const StepHeader* step, cudaStream_t stream,
                             DeviceError& error) {
  const int rows = product.rows.count;
  const LtShape shape{.type = product.type,
                      .rows = rows,
                      .outputs = product.outputs,
                      .inputs = product.inputs,
                      .y_stride = product.outputs,
                      .f32_output = product.add};
  Tune(shape, product.weight, stream, error);  // before its scratch is in use
  error.Note(LaunchGatherRows({.step = step,
                               .source = product.source,
                               .from = product.x,
                               .from_stride = product.inputs,
                               .to = gathered_.as<void>(),
                               .to_stride = product.inputs,
                               .width = product.inputs},
                              rows, stream),
             "gather_rows");
  error.Note(
      library_.Run(shape, {product.weight, gathered_.as<void>(), dense_.as<void>()}, stream));
  const RowCopyArgs scatter{.step = step,
                            .source = product.source,
                            .from = dense_.as<void>(),
                            .from_stride = product.outputs,
                            .to = product.y,
                            .to_stride = product.y_stride,
                            .width = product.outputs};
  error.Note(product.add ? LaunchScatterAdd(scatter, rows, stream)
                         : LaunchScatterRows(scatter, rows, stream),
             "scatter_rows");
}

}  // namespace skipstone::cuda
