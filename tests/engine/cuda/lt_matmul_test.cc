// Tuned products: right for every row count, and without a trace of the timing.
#include "engine/cuda/products/lt_matmul.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "engine/cuda/products/row_products.h"
#include "tests/engine/cuda/lt_rig.h"
#include "tests/support/temp_dir.h"

namespace skipstone::cuda {
namespace {

class LtMatMulTest : public KernelTest {};

TEST_P(LtMatMulTest, IsRightForEveryRowCountAndTouchesNothingElse) {
  const LtRig rig(100, type());
  LtMatMul library = *LtMatMul::Create();
  for (const bool add : {false, true}) {
    // 100 rows are less than their range's last count.
    for (const int rows : {17, 32, 33, 20, 64, 63, 100, 65, 1}) {
      rig.ExpectProduct(library, rows, add);
    }
  }
}

TEST_P(LtMatMulTest, IsRightWithoutTuning) {
  const LtRig rig(64, type());
  LtMatMul library = *LtMatMul::Create();
  for (const int rows : {40, 17}) rig.ExpectProduct(library, rows, true, false);
  library.Seal();
  for (const int rows : {64, 32}) rig.ExpectProduct(library, rows, false, true);
}

TEST_P(LtMatMulTest, TheCachePinsTheResult) {
  const TempDir folder;
  const std::string path = folder.path() + "/tuning";
  const LtRig rig(64, type());
  LtMatMul first = *LtMatMul::Create(path);
  const std::vector<float> before = rig.Product(first, 50);
  first.Seal();
  LtMatMul second = *LtMatMul::Create(path);
  EXPECT_EQ(rig.Product(second, 50), before);
}

constexpr int kMaxRows = 48;

// y[row] = 1 + W x[row] of the rows that a step names, by the products of a backend.
class RowProductsTest : public KernelTest {
 protected:
  static constexpr int kHidden = 64;

  void ExpectProduct(RowProducts& products, const std::vector<int32_t>& rows, const RowList& list) {
    const LayerRows layers[] = {{list, list, list}};
    const StepHeader* step = Upload({.num_layers = 1, .vocab = 8}, {.layers = layers});
    const Numbers w(type(), kHidden * kHidden, 1, 0.1f);
    const Numbers x(type(), kMaxRows * kHidden, 2);
    const DeviceArray<uint16_t> weight(w.bits);
    const DeviceArray<uint16_t> in(x.bits);
    const DeviceArray<float> out(std::vector<float>(kMaxRows * kHidden, 1.0f));
    products.Run({.type = type(),
                  .source = LayerRowsOf(ListKind::kMlp, 0),
                  .rows = list,
                  .weight = weight.get(),
                  .outputs = kHidden,
                  .inputs = kHidden,
                  .x = in.get(),
                  .y = out.get(),
                  .y_stride = kHidden,
                  .add = true},
                 step, stream_.get(), error_);
    EXPECT_EQ(error_.status(), absl::OkStatus());
    std::vector<double> expected(kMaxRows * kHidden, 1.0);
    for (const int32_t row : rows) {
      for (int o = 0; o < kHidden; ++o) {
        for (int i = 0; i < kHidden; ++i) {
          expected[row * kHidden + o] +=
              double{w.values[o * kHidden + i]} * x.values[row * kHidden + i];
        }
      }
    }
    ExpectClose("row product", out.Read(), expected, kHidden, 1e-5);
  }
  static RowProducts Make() {
    const ModelShape shape{.num_layers = 1,
                           .hidden = kHidden,
                           .heads = 1,
                           .kv_heads = 1,
                           .head_dim = kHidden,
                           .ffn = 96,
                           .vocab = 8};
    return *RowProducts::Create(shape, {.max_rows = kMaxRows});
  }
};

// The first product of a kind, which is timed, and later ones.
TEST_P(RowProductsTest, AnIndexListIsGatheredAfterTheTiming) {
  RowProducts products = Make();
  for (const int count : {18, 24, 20}) {
    std::vector<int32_t> rows(count);
    for (int i = 0; i < count; ++i) rows[i] = 2 * i;
    ExpectProduct(products, rows, {.count = count, .index = rows.data()});
  }
}

TEST_P(RowProductsTest, ARangeStaysOnItsRows) {
  RowProducts products = Make();
  for (const int count : {18, 40, 33}) {
    std::vector<int32_t> rows(count);
    std::iota(rows.begin(), rows.end(), kMaxRows - count);
    ExpectProduct(products, rows, {.begin = kMaxRows - count, .count = count});
  }
}

const auto kTypes = testing::Values(DType::kBF16, DType::kF16);
const auto kNameOf = [](const auto& info) { return std::string(NameOf(info.param)); };
INSTANTIATE_TEST_SUITE_P(Types, LtMatMulTest, kTypes, kNameOf);
INSTANTIATE_TEST_SUITE_P(Types, RowProductsTest, kTypes, kNameOf);

}  // namespace
}  // namespace skipstone::cuda
