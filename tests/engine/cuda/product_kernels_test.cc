// Norm, products and activation, each kernel against double-precision loops.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/cuda/kernels/skinny_matmul.h"
#include "engine/cuda/kernels/stage_kernels.h"
#include "engine/cuda/products/lt_matmul.h"
#include "tests/engine/cuda/kernel_rig.h"

namespace skipstone::cuda {
namespace {

constexpr int kRows = 20;  // that exist

class ProductKernelsTest : public KernelTest {
 protected:
  // A step of one layer whose MLP takes `rows`.
  const StepHeader* UploadRows(const std::vector<int32_t>& rows) {
    index_ = rows;
    const RowList list{.count = static_cast<int32_t>(rows.size()), .index = index_.data()};
    const LayerRows layers[] = {{list, list, list}};
    return Upload({.num_layers = 1, .vocab = 8}, {.layers = layers});
  }
  static RowSource Mlp() { return LayerRowsOf(ListKind::kMlp, 0); }

  // Rows of the list, in every other position NaN that nobody may read.
  std::vector<uint16_t> OnlyListed(const std::vector<uint16_t>& bits, int width) const {
    std::vector<uint16_t> out = Poison16(bits.size());
    for (const int32_t row : index_) {
      std::copy_n(bits.begin() + row * width, width, out.begin() + row * width);
    }
    return out;
  }

  std::vector<int32_t> index_;
};

double Silu(double x) { return x / (1 + std::exp(-x)); }

TEST_P(ProductKernelsTest, RmsNorm) {
  for (const int hidden : {8, 40, 2056}) {
    const StepHeader* step = UploadRows({1, 4, 5, 19});
    const Numbers in(type(), kRows * hidden, 1, 3.0f);
    const Numbers weight(type(), hidden, 2);
    const DeviceArray<float> residual(in.values);
    const DeviceArray<float> weights(weight.values);
    const DeviceArray<uint16_t> out(Poison16(kRows * hidden));
    ASSERT_EQ(LaunchRmsNorm({.step = step,
                             .source = Mlp(),
                             .residual = residual.get(),
                             .weight = weights.get(),
                             .epsilon = 1e-5f,
                             .hidden = hidden,
                             .type = type(),
                             .normed = out.get()},
                            8, stream_.get()),
              cudaSuccess);
    const std::vector<uint16_t> bits = out.Read();
    std::vector<float> normed;
    std::vector<double> expected;
    for (const int32_t row : index_) {
      double squares = 0;
      for (int i = 0; i < hidden; ++i) squares += std::pow(in.values[row * hidden + i], 2.0);
      for (int i = 0; i < hidden; ++i) {
        normed.push_back(ToFloatOf(type(), bits[row * hidden + i]));
        expected.push_back(in.values[row * hidden + i] / std::sqrt(squares / hidden + 1e-5) *
                           weight.values[i]);
      }
    }
    ExpectClose("rms_norm", normed, expected, hidden, rounding());
    EXPECT_EQ(bits[0], 0xffff);  // a row that is not in the list
  }
}

TEST_P(ProductKernelsTest, SwiGlu) {
  for (const int ffn : {8, 2200}) {
    const StepHeader* step = UploadRows({0, 7, 8});
    const Numbers in(type(), kRows * 2 * ffn, 1, 2.0f);
    const DeviceArray<uint16_t> gate_up(OnlyListed(in.bits, 2 * ffn));
    const DeviceArray<uint16_t> out(Poison16(kRows * ffn));
    ASSERT_EQ(LaunchSwiGlu({.step = step,
                            .source = Mlp(),
                            .gate_up = gate_up.get(),
                            .type = type(),
                            .ffn = ffn,
                            .gated = out.get()},
                           8, stream_.get()),
              cudaSuccess);
    const std::vector<float> all = ToFloats(type(), out.Read());
    std::vector<float> gated;
    std::vector<double> expected;
    for (const int32_t row : index_) {
      const float* gate = in.values.data() + row * 2 * ffn;
      for (int i = 0; i < ffn; ++i) {
        gated.push_back(all[row * ffn + i]);
        expected.push_back(Silu(gate[i]) * gate[ffn + i]);
      }
    }
    ExpectClose("swiglu", gated, expected, ffn, rounding());
  }
}

struct ProductCase {
  std::vector<int32_t> rows;
  int outputs;
  int inputs;
};

// Row counts around the tensor core tile, outputs that are no multiple of it, inputs of less and
// more than a slice per warp.
std::vector<ProductCase> ProductCases() {
  return {{{3}, 16, 8},
          {{0, 1, 2, 3, 4, 5, 6, 7}, 40, 136},
          {{0, 2, 4, 6, 8, 10, 12, 14, 16}, 24, 1000},
          {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 19}, 64, 2304}};
}

double Dot(const Numbers& w, const Numbers& x, int output, int row, int inputs) {
  double sum = 0;
  for (int i = 0; i < inputs; ++i) {
    sum += double{w.values[output * inputs + i]} * x.values[row * inputs + i];
  }
  return sum;
}

TEST_P(ProductKernelsTest, SkinnyAddsToTheResidual) {
  for (const auto& [rows, outputs, inputs] : ProductCases()) {
    const StepHeader* step = UploadRows(rows);
    const Numbers w(type(), outputs * inputs, 1, 1 / std::sqrt(inputs));
    const Numbers x(type(), kRows * inputs, 2);
    const DeviceArray<uint16_t> weight(w.bits);
    const DeviceArray<uint16_t> in(OnlyListed(x.bits, inputs));
    const DeviceArray<float> out(std::vector<float>(kRows * outputs, 2.0f));
    ASSERT_EQ(LaunchSkinnyAdd({.step = step,
                               .source = Mlp(),
                               .weight = weight.get(),
                               .x = in.get(),
                               .type = type(),
                               .outputs = outputs,
                               .inputs = inputs,
                               .x_stride = inputs},
                              out.get(), rows.size() <= 8 ? 8 : 16, stream_.get()),
              cudaSuccess);
    std::vector<double> expected(kRows * outputs, 2.0);
    for (const int32_t row : rows) {
      for (int o = 0; o < outputs; ++o) expected[row * outputs + o] += Dot(w, x, o, row, inputs);
    }
    ExpectClose("skinny_add", out.Read(), expected, outputs, 1e-5);
  }
}

// In a recording for any set most products of skipped sublayers find no rows: their weights, which
// are not even there, stay unread.
TEST_P(ProductKernelsTest, SkinnyWithoutRowsReadsNoWeights) {
  const StepHeader* step = UploadRows({});
  const DeviceArray<uint16_t> in(Poison16(64));
  const std::vector<float> before(32, 3.0f);
  const DeviceArray<float> residual(before);
  const SkinnyArgs args{.step = step,
                        .source = Mlp(),
                        .weight = nullptr,
                        .x = in.get(),
                        .type = type(),
                        .outputs = 32,
                        .inputs = 64,
                        .x_stride = 64,
                        .may_be_empty = true};
  ASSERT_EQ(LaunchSkinnyAdd(args, residual.get(), 8, stream_.get()), cudaSuccess);
  EXPECT_EQ(residual.Read(), before);
}

TEST_P(ProductKernelsTest, SkinnySwiGlu) {
  for (const auto& [rows, outputs, inputs] : ProductCases()) {
    const int ffn = outputs / 2;
    const StepHeader* step = UploadRows(rows);
    const Numbers w(type(), outputs * inputs, 1, 2 / std::sqrt(inputs));
    const Numbers x(type(), kRows * inputs, 2);
    const DeviceArray<uint16_t> weight(w.bits);
    const DeviceArray<uint16_t> in(OnlyListed(x.bits, inputs));
    const DeviceArray<uint16_t> out(std::vector<uint16_t>(kRows * ffn, 0));
    ASSERT_EQ(LaunchSkinnySwiGlu({.step = step,
                                  .source = Mlp(),
                                  .weight = weight.get(),
                                  .x = in.get(),
                                  .type = type(),
                                  .outputs = outputs,
                                  .inputs = inputs,
                                  .x_stride = inputs},
                                 out.get(), static_cast<int>(rows.size()), stream_.get()),
              cudaSuccess);
    std::vector<double> expected(kRows * ffn, 0.0);
    for (const int32_t row : rows) {
      for (int o = 0; o < ffn; ++o) {
        expected[row * ffn + o] = Silu(Dot(w, x, o, row, inputs)) * Dot(w, x, ffn + o, row, inputs);
      }
    }
    ExpectClose("skinny_swiglu", ToFloats(type(), out.Read()), expected, ffn, rounding());
  }
}

TEST_P(ProductKernelsTest, LibraryStoresAndAddsWithAStride) {
  constexpr int kOutputs = 40;
  constexpr int kInputs = 72;
  constexpr int kStride = 56;
  const Numbers w(type(), kOutputs * kInputs, 1, 1 / std::sqrt(kInputs));
  const Numbers x(type(), kRows * kInputs, 2);
  const DeviceArray<uint16_t> weight(w.bits);
  const DeviceArray<uint16_t> in(x.bits);
  LtMatMul library = *LtMatMul::Create();
  for (const bool add : {false, true}) {
    const DeviceArray<float> out(std::vector<float>(kRows * kStride, 3.0f));
    const LtShape shape{.type = type(),
                        .rows = kRows,
                        .outputs = kOutputs,
                        .inputs = kInputs,
                        .y_stride = kStride,
                        .f32_output = true,
                        .add = add};
    ASSERT_TRUE(library.Run(shape, {weight.get(), in.get(), out.get()}, stream_.get()).ok());
    std::vector<double> expected(kRows * kStride, 3.0);
    for (int r = 0; r < kRows; ++r) {
      for (int o = 0; o < kOutputs; ++o) {
        double& e = expected[r * kStride + o];
        e = (add ? e : 0) + Dot(w, x, o, r, kInputs);
      }
    }
    ExpectClose("library product", out.Read(), expected, kStride, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, ProductKernelsTest, testing::Values(DType::kBF16, DType::kF16),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

}  // namespace
}  // namespace skipstone::cuda
