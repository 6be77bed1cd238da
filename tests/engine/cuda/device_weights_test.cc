#include "engine/cuda/device_weights.h"

#include <cstring>
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

TEST_F(DeviceWeightsTest, MakesNoVectors) {
  const Tensor norm{nullptr, DType::kF16, 1, 64, /*seed=*/7};
  EXPECT_EQ(DeviceWeights(1).Add({&norm, 1}, stream_.get()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace skipstone::cuda
