// One product for the tests of LtMatMul: its arrays on the device, and what it should give.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/cuda/products/lt_matmul.h"
#include "tests/engine/cuda/kernel_rig.h"

namespace skipstone::cuda {

// x [max_rows][kInputs], y f32 [max_rows][kStride] of which kOutputs are written.
class LtRig {
 public:
  static constexpr int kOutputs = 40;
  static constexpr int kInputs = 72;
  static constexpr int kStride = 56;
  static constexpr float kBefore = 3.0f;  // in y

  explicit LtRig(int max_rows, DType type = DType::kBF16)
      : type_(type),
        max_rows_(max_rows),
        w_(type, size_t{kOutputs} * kInputs, 1, 1 / std::sqrt(float{kInputs})),
        x_(type, size_t(max_rows) * kInputs, 2),
        weight_(w_.bits),
        in_(x_.bits),
        scratch_x_(*DeviceMemory::Allocate(int64_t{2} * max_rows * kInputs, "a test")),
        scratch_y_(*DeviceMemory::Allocate(int64_t{4} * max_rows * kStride, "a test")),
        stream_(*Stream::Create()) {}

  LtShape Shape(int rows, bool add) const {
    return {.type = type_,
            .rows = rows,
            .outputs = kOutputs,
            .inputs = kInputs,
            .y_stride = kStride,
            .f32_output = true,
            .add = add};
  }
  absl::Status Tune(LtMatMul& library, int rows, bool add = false) const {
    return library.Tune(Shape(rows, add), weight_.get(), {scratch_x_, scratch_y_}, stream_.get());
  }
  // Tunes, then runs, and expects every element of y to be what it should.
  void ExpectProduct(LtMatMul& library, int rows, bool add = false, bool tune = true) const {
    const std::vector<float> out = Product(library, rows, add, tune);
    double worst = 0;
    for (int r = 0; r < max_rows_; ++r) {
      for (int o = 0; o < kStride; ++o) {
        const float is = out[size_t(r) * kStride + o];
        if (r >= rows || o >= kOutputs) {
          EXPECT_EQ(is, kBefore) << "row " << r << " output " << o;
          continue;
        }
        const double error = std::abs(is - Expected(r, o, add));
        worst = error <= worst ? worst : error;  // NaN counts
      }
    }
    EXPECT_LE(worst, 1e-5) << rows << " rows";
  }
  std::vector<float> Product(LtMatMul& library, int rows, bool add = false,
                             bool tune = true) const {
    const DeviceArray<float> y(std::vector<float>(size_t(max_rows_) * kStride, kBefore));
    if (tune) {
      EXPECT_EQ(Tune(library, rows, add), absl::OkStatus());
    }
    EXPECT_EQ(library.Run(Shape(rows, add), {weight_.get(), in_.get(), y.get()}, stream_.get()),
              absl::OkStatus());
    return y.Read();
  }

 private:
  double Expected(int row, int output, bool add) const {
    double sum = add ? kBefore : 0;
    for (int i = 0; i < kInputs; ++i) {
      sum += double{w_.values[output * kInputs + i]} * x_.values[row * kInputs + i];
    }
    return sum;
  }

  const DType type_;
  const int max_rows_;
  const Numbers w_;
  const Numbers x_;
  const DeviceArray<uint16_t> weight_;
  const DeviceArray<uint16_t> in_;
  const DeviceMemory scratch_x_;
  const DeviceMemory scratch_y_;
  const Stream stream_;
};

}  // namespace skipstone::cuda
