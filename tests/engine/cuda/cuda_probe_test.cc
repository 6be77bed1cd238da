// The device's limits and times of points in a stream; and the kernels that they take.
#include "engine/cuda/device/cuda_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "engine/cuda/kernels/read_stream.h"
#include "tests/engine/cpu/stage_driver.h"
#include "tests/engine/cpu/stage_model.h"
#include "tests/engine/cuda/kernel_rig.h"

namespace skipstone::cuda {
namespace {

using testing::Each;
using testing::Ge;
using testing::IsEmpty;
using testing::SizeIs;

class ReadStreamKernelTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasCudaDevice()) GTEST_SKIP() << "no device";
    stream_ = *Stream::Create();
  }

  Stream stream_;
};

// Sizes around those of a tile (4, 8 or 16 KiB times four), for one block and for more blocks than
// there are tiles.
TEST_F(ReadStreamKernelTest, ReadsEveryWordOnce) {
  std::mt19937 random(1);
  for (const int words : {0, 4, 1020, 4096, 16388, 32764, 100'000}) {
    std::vector<uint32_t> data(words);
    for (uint32_t& word : data) word = random();
    const uint32_t expected = std::accumulate(data.begin(), data.end(), 0u);
    data.insert(data.end(), 4, 0xdeadbeef);  // not to be read
    const DeviceArray<uint32_t> from(data);
    for (const int loads : {4, 8, 16}) {
      for (const int blocks : {1, 3, 40}) {
        const DeviceArray<uint32_t> sums(std::vector<uint32_t>(blocks * kReadStreamWarps, 77));
        const ReadStreamArgs args{
            .from = from.get(), .bytes = int64_t{4} * words, .sums = sums.get()};
        ASSERT_EQ(LaunchReadStream(args, loads, blocks, stream_.get()), cudaSuccess);
        const std::vector<uint32_t> out = sums.Read();
        EXPECT_EQ(std::accumulate(out.begin(), out.end(), 0u), expected)
            << words << " words, " << loads << " loads, " << blocks << " blocks";
      }
    }
  }
}

TEST_F(ReadStreamKernelTest, ServesNoOtherNumberOfLoads) {
  EXPECT_EQ(LaunchReadStream({}, 5, 1, stream_.get()), cudaErrorInvalidValue);
}

class CudaProbeTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!HasCudaDevice()) GTEST_SKIP() << "no device";
    model_.emplace(ModelShape{.num_layers = 2,
                              .hidden = 64,
                              .heads = 1,
                              .kv_heads = 1,
                              .head_dim = 64,
                              .ffn = 96,
                              .vocab = 61,
                              .max_context = 128},
                   GetParam());
    backend_ = *MakeCudaBackend(model_->shape);
    driver_.emplace(*model_, *backend_,
                    StepLimits{.max_rows = 8,
                               .max_logits_rows = 8,
                               .max_slots = 2,
                               .page_tokens = 16,
                               .num_pages = 8});
  }

  std::vector<LogitsResult> Step() {
    return driver_->Run({.rows = {{.token = 3, .logits = true}}});
  }

  std::optional<StageModel> model_;
  std::unique_ptr<Backend> backend_;
  std::optional<StageDriver> driver_;
};

TEST_P(CudaProbeTest, CeilingsAreThoseOfADevice) {
  for (int call = 0; call < 2; ++call) {
    const absl::StatusOr<Ceilings> ceilings = backend_->probe()->MeasureCeilings();
    ASSERT_TRUE(ceilings.ok()) << ceilings.status();
    std::printf("%.3g bytes/s, %.3g FLOP/s\n", ceilings->bytes_per_s, ceilings->flops_per_s);
    // The emulator's are above the lower bounds, a device's below the upper ones.
    EXPECT_GT(ceilings->bytes_per_s, 1e6);
    EXPECT_LT(ceilings->bytes_per_s, 1e14);
    EXPECT_GT(ceilings->flops_per_s, 1e6);
    EXPECT_LT(ceilings->flops_per_s, 1e17);
  }
}

TEST_P(CudaProbeTest, WorksBetweenSteps) {
  DeviceProbe* const probe = backend_->probe();
  ASSERT_NE(probe, nullptr);
  EXPECT_EQ(backend_->probe(), probe);
  const std::vector<LogitsResult> before = Step();
  ASSERT_TRUE(probe->MeasureCeilings().ok());
  probe->Mark();
  const std::vector<LogitsResult> after = Step();
  probe->Mark();
  const auto laps = probe->TakeLaps();
  ASSERT_TRUE(laps.ok()) << laps.status();
  ASSERT_THAT(*laps, SizeIs(1));
  EXPECT_GT((*laps)[0], 0);
  ASSERT_EQ(before.size(), after.size());
  ASSERT_EQ(before[0].top.size(), after[0].top.size());
  for (size_t i = 0; i < before[0].top.size(); ++i) {
    EXPECT_EQ(before[0].top[i].id, after[0].top[i].id);
    EXPECT_EQ(before[0].top[i].logprob, after[0].top[i].logprob);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CudaProbeTest, testing::Values(DType::kBF16, DType::kF16),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

class CudaLapsTest : public testing::Test {
 protected:
  static constexpr int64_t kBytes = int64_t{16} << 20;

  void SetUp() override {
    if (!HasCudaDevice()) GTEST_SKIP() << "no device";
    stream_ = *Stream::Create();
    memory_ = *DeviceMemory::Allocate(2 * kBytes, "a test");
    probe_.emplace(stream_.get(), weights_);
  }

  void EnqueueCopies() {
    for (int i = 0; i < 4; ++i) {
      ASSERT_EQ(cudaMemcpyAsync(memory_.as<char>() + kBytes, memory_.as<char>(), kBytes,
                                cudaMemcpyDeviceToDevice, stream_.get()),
                cudaSuccess);
    }
  }

  Stream stream_;
  DeviceMemory memory_;
  DeviceWeights weights_{1};
  std::optional<CudaProbe> probe_;
};

TEST_F(CudaLapsTest, NoLapWithoutTwoMarks) {
  EXPECT_THAT(*probe_->TakeLaps(), IsEmpty());
  probe_->Mark();
  EXPECT_THAT(*probe_->TakeLaps(), IsEmpty());
  EXPECT_THAT(*probe_->TakeLaps(), IsEmpty());
}

// A later call knows nothing of earlier marks, be they more or fewer.
TEST_F(CudaLapsTest, OneLapFewerThanMarks) {
  for (const int marks : {2, 300, 5, 301}) {
    for (int i = 0; i < marks; ++i) probe_->Mark();
    const auto laps = probe_->TakeLaps();
    ASSERT_TRUE(laps.ok()) << laps.status();
    EXPECT_THAT(*laps, SizeIs(marks - 1));
    EXPECT_THAT(*laps, Each(Ge(0)));
  }
}

// The least of several: the machine may stop in between.
TEST_F(CudaLapsTest, ALapIsTheTimeOfItsWork) {
  std::vector<double> least = {1e9, 1e9, 1e9};
  for (int round = 0; round < 5; ++round) {
    probe_->Mark();
    probe_->Mark();
    EnqueueCopies();
    probe_->Mark();
    probe_->Mark();
    const auto laps = probe_->TakeLaps();
    ASSERT_TRUE(laps.ok()) << laps.status();
    ASSERT_THAT(*laps, SizeIs(3));
    for (int i = 0; i < 3; ++i) least[i] = std::min(least[i], (*laps)[i]);
  }
  std::printf("laps of %.2g %.2g %.2g s\n", least[0], least[1], least[2]);
  EXPECT_GT(least[1], least[0]);
  EXPECT_GT(least[1], least[2]);
  EXPECT_GT(least[1], 8.0 * kBytes / 1e14);  // no device copies faster
}

}  // namespace
}  // namespace skipstone::cuda
