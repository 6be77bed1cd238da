#include "engine/cuda/products/device_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "engine/backend/random_fill.h"
#include "tests/engine/cuda/kernel_rig.h"

namespace skipstone::cuda {
namespace {

class DeviceWeightsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasCudaDevice()) GTEST_SKIP() << "no device";
    stream_ = *Stream::Create();
  }

  // Without the zeros behind the last row, which are checked.
  static std::vector<uint16_t> Read(const DeviceWeight& weight) {
    std::vector<uint16_t> out(weight.memory.bytes() / sizeof(uint16_t));
    SKIPSTONE_CHECK(cudaMemcpy(out.data(), weight.memory.as<void>(), weight.memory.bytes(),
                               cudaMemcpyDeviceToHost) == cudaSuccess);
    EXPECT_EQ(out.size(), static_cast<size_t>((weight.rows + 7) / 8 * 8 * weight.cols));
    const auto end = out.begin() + int64_t{weight.rows} * weight.cols;
    EXPECT_EQ(std::count(end, out.end(), 0), out.end() - end);
    out.erase(end, out.end());
    return out;
  }

  Stream stream_;
};

// More than both halves of the page-locked memory hold, of a length that threads cannot share
// evenly.
TEST_F(DeviceWeightsTest, CopiesAGroupByEveryNumberOfThreads) {
  constexpr int kCols = 8184;
  std::vector<uint16_t> values(9001 * kCols);
  std::mt19937_64 random(1);
  for (size_t i = 0; i + 4 <= values.size(); i += 4) {
    const uint64_t bits = random();
    std::memcpy(&values[i], &bits, sizeof(bits));
  }
  const Tensor group[] = {{values.data(), DType::kBF16, 9000, kCols},
                          {values.data() + 9000 * kCols, DType::kBF16, 1, kCols}};
  for (const int threads : {1, 3}) {
    DeviceWeights weights(threads);
    ASSERT_TRUE(weights.Add(group, stream_.get()).ok());
    ASSERT_TRUE(weights.Finish(stream_.get()).ok());
    EXPECT_TRUE(Read(weights[0]) == values) << threads << " threads";
    EXPECT_EQ(weights.bytes(), int64_t{9008} * kCols * 2);
  }
}

TEST_F(DeviceWeightsTest, MakesRandomMatricesBesideOthers) {
  std::vector<uint16_t> expected(3 * 64);
  FillUniform({.type = DType::kF16, .seed = 7, .inputs = 64}, 0, 2 * 64, expected.data());
  for (int i = 0; i < 64; ++i) expected[128 + i] = static_cast<uint16_t>(i);
  const Tensor group[] = {{nullptr, DType::kF16, 2, 64, /*seed=*/7},
                          {expected.data() + 128, DType::kF16, 1, 64}};
  DeviceWeights weights(1);
  ASSERT_TRUE(weights.Add(group, stream_.get()).ok());
  ASSERT_TRUE(weights.Finish(stream_.get()).ok());
  EXPECT_EQ(Read(weights[0]), expected);
}

// A map's rank may be any.
TEST_F(DeviceWeightsTest, FillsRowsUpToEightColumns) {
  std::vector<uint16_t> values(5 * 11);
  std::vector<uint16_t> expected(5 * 16, 0);
  for (int i = 0; i < std::ssize(values); ++i) {
    values[i] = static_cast<uint16_t>(0x3c00 + i);
    expected[i / 11 * 16 + i % 11] = values[i];
  }
  const Tensor matrix{values.data(), DType::kF16, 5, 11};
  DeviceWeights weights(1);
  ASSERT_TRUE(weights.Add({&matrix, 1}, stream_.get()).ok());
  ASSERT_TRUE(weights.Finish(stream_.get()).ok());
  EXPECT_EQ(weights[0].cols, 16);
  EXPECT_EQ(weights[0].rows, 5);
  EXPECT_EQ(Read(weights[0]), expected);
  const Tensor random{nullptr, DType::kF16, 5, 11, /*seed=*/7};
  EXPECT_EQ(weights.Add({&random, 1}, stream_.get()).status().code(),
            absl::StatusCode::kUnimplemented);
}

// Rounded to the nearest, ties to even; 0xffff stands for NaN.
TEST_F(DeviceWeightsTest, BringsOtherTypesToItsOwn) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::vector<float> f32 = {1.00390625f, 1.01171875f,   -1.00391f, kInf,
                                  -kInf,       std::nanf(""), 1e-40f,    1.0f};
  const std::vector<uint16_t> f16 = {0x3c00, 0x0001, 0x7bff, 0xfc00,
                                     0x7e00, 0x8000, 0x3555, 0xbc01};
  const std::vector<uint16_t> bf16 = {0x3f80, 0x3f81, 0x0001, 0x7f80,
                                      0xc000, 0x8000, 0x3eab, 0x4040};
  const Tensor group[] = {{f32.data(), DType::kF32, 1, 8},
                          {f16.data(), DType::kF16, 1, 8},
                          {bf16.data(), DType::kBF16, 1, 8}};
  const auto check = [&](DType type, const std::vector<uint16_t>& expected) {
    DeviceWeights weights(1, type);
    ASSERT_TRUE(weights.Add(group, stream_.get()).ok());
    ASSERT_TRUE(weights.Finish(stream_.get()).ok());
    EXPECT_EQ(weights.type(), type);
    std::vector<uint16_t> actual = Read(weights[0]);
    for (uint16_t& bits : actual) {
      const int infinity = type == DType::kBF16 ? 0x7f80 : 0x7c00;
      if ((bits & 0x7fff) > infinity) bits = 0xffff;
    }
    EXPECT_EQ(actual, expected);
  };
  check(DType::kBF16, {0x3f80, 0x3f82, 0xbf81, 0x7f80, 0xff80, 0xffff, 0x0001, 0x3f80,
                       0x3f80, 0x3380, 0x4780, 0xff80, 0xffff, 0x8000, 0x3eab, 0xbf80,
                       0x3f80, 0x3f81, 0x0001, 0x7f80, 0xc000, 0x8000, 0x3eab, 0x4040});
  check(DType::kF16, {0x3c04, 0x3c0c, 0xbc04, 0x7c00, 0xfc00, 0xffff, 0x0000, 0x3c00,
                      0x3c00, 0x0001, 0x7bff, 0xfc00, 0xffff, 0x8000, 0x3555, 0xbc01,
                      0x3c00, 0x3c08, 0x0000, 0x7c00, 0xc000, 0x8000, 0x3558, 0x4200});
}

TEST_F(DeviceWeightsTest, RefusesNumbersThatAreTooLargeForTheType) {
  std::vector<float> values(2 * 8, 1.0f);
  values[13] = 70000.0f;
  const Tensor matrix{values.data(), DType::kF32, 2, 8};
  const absl::Status status =
      DeviceWeights(1, DType::kF16).Add({&matrix, 1}, stream_.get()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()),
            "a f32 matrix of [2, 8] holds a number that is too large for f16");
  EXPECT_TRUE(DeviceWeights(1, DType::kBF16).Add({&matrix, 1}, stream_.get()).ok());
}

TEST_F(DeviceWeightsTest, MakesNoVectors) {
  const Tensor norm{nullptr, DType::kF16, 1, 64, /*seed=*/7};
  EXPECT_EQ(DeviceWeights(1).Add({&norm, 1}, stream_.get()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace skipstone::cuda
