#include "engine/cuda/device_weights.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "engine/backend/random_fill.h"
#include "engine/backend/widen.h"
#include "tests/engine/cuda/kernel_rig.h"

namespace skipstone::cuda {
namespace {

class DeviceWeightsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasCudaDevice()) GTEST_SKIP() << "no device";
    stream_ = *Stream::Create();
  }

  static std::vector<uint16_t> Read(const DeviceWeight& weight) {
    std::vector<uint16_t> out(weight.memory.bytes() / sizeof(uint16_t));
    SKIPSTONE_CHECK(cudaMemcpy(out.data(), weight.memory.as<void>(), weight.memory.bytes(),
                               cudaMemcpyDeviceToHost) == cudaSuccess);
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
    EXPECT_EQ(weights.bytes(), static_cast<int64_t>(values.size() * sizeof(uint16_t)));
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

// Rounded to the nearest, ties to even; what is not a number stays none.
TEST_F(DeviceWeightsTest, BringsOtherTypesToItsOwn) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> f32(2 * 8, 1.0f);
  const float values[] = {1.00390625f, 1.01171875f, -1.00390626f, inf, -inf, std::nanf(""), 1e-40f};
  std::copy(std::begin(values), std::end(values), f32.begin());
  const std::vector<uint16_t> f16 = {0x3c00, 0x0001, 0x7bff, 0xfc00,
                                     0x7e00, 0x8000, 0x3555, 0xbc01};
  const std::vector<uint16_t> bf16 = {0x3f80, 0x3f81, 0x0001, 0x7f80,
                                      0xc000, 0x8000, 0x3eab, 0x4040};
  const Tensor group[] = {{f32.data(), DType::kF32, 2, 8},
                          {f16.data(), DType::kF16, 1, 8},
                          {bf16.data(), DType::kBF16, 1, 8}};
  for (const DType type : {DType::kBF16, DType::kF16}) {
    DeviceWeights weights(1, type);
    ASSERT_TRUE(weights.Add(group, stream_.get()).ok());
    ASSERT_TRUE(weights.Finish(stream_.get()).ok());
    std::vector<uint16_t> expected;
    for (const Tensor& tensor : group) {
      for (int64_t i = 0; i < tensor.rows * tensor.cols; ++i) {
        const float value = ElementAt(tensor.data, tensor.type, i);
        expected.push_back(type == DType::kBF16 ? ToBf16(value) : ToF16(value));
      }
    }
    const std::vector<uint16_t> actual = Read(weights[0]);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      const float want = ToFloatOf(type, expected[i]);
      if (std::isnan(want)) {
        EXPECT_TRUE(std::isnan(ToFloatOf(type, actual[i]))) << i;
      } else {
        EXPECT_EQ(actual[i], expected[i]) << i;
      }
    }
    EXPECT_EQ(weights.type(), type);
  }
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
