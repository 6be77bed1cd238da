// Products of many rows over row lists: a range runs in place on a slice, an index list by way of
// dense rows.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/cuda/device/device_error.h"
#include "engine/cuda/kernels/row_copy.h"
#include "engine/cuda/products/lt_matmul.h"

namespace skipstone::cuda {

// y[row] = W x[row] or, with `add`, y[row] += W x[row]. W [outputs, inputs], x [row][inputs],
// y [row] of y_stride elements. Widths are multiples of 8.
struct RowProduct {
  DType type = DType::kBF16;  // of W and x
  RowSource source;           // the list as kernels find it
  RowList rows;               // the same list
  const void* weight = nullptr;
  int outputs = 0;
  int inputs = 0;
  const void* x = nullptr;
  void* y = nullptr;
  int y_stride = 0;
  bool add = false;  // y is f32, else of `type`
};

// Step thread only.
class RowProducts {
 public:
  // `tuning_cache`: see TuningCache.
  static absl::StatusOr<RowProducts> Create(const ModelShape& shape, const StepLimits& limits,
                                            const std::string& tuning_cache = "");
  static int64_t DeviceBytes(const ModelShape& shape, int max_rows);

  // The first product of a shape and range of rows (lt_matmul.h) waits for the stream, until Seal.
  void Run(const RowProduct& product, const StepHeader* step, cudaStream_t stream,
           DeviceError& error);
  // logits[i][outputs], f32, of the `rows` rows from `x` on.
  void RunLogits(const LtShape& shape, const void* weight, const void* x, float* logits,
                 cudaStream_t stream, DeviceError& error);
  // After the warm-up: nothing is timed any more, and what was is saved.
  void Seal() { library_.Seal(); }

 private:
  void RunIndexed(const RowProduct& product, const StepHeader* step, cudaStream_t stream,
                  DeviceError& error);
  // Between products what gathered_ and dense_ hold is not needed.
  void Tune(const LtShape& shape, const void* weight, cudaStream_t stream, DeviceError& error) {
    error.Note(library_.Tune(shape, weight, {gathered_, dense_}, stream));
  }

  LtMatMul library_;
  DeviceMemory gathered_;  // [rows][widest input]
  DeviceMemory dense_;     // [rows][widest output], no smaller than the L2 cache
};

}  // namespace skipstone::cuda
