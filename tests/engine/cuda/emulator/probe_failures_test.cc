// The probe where memory or the device fails, and the emulator's timing events.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/cuda/device/cuda_probe.h"
#include "engine/cuda/device/stream.h"
#include "tests/engine/cuda/emulator/emulator.h"

namespace skipstone::cuda {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class ProbeFailuresTest : public testing::Test {
 protected:
  ~ProbeFailuresTest() override { emulator::SetFreeBytes(int64_t{8} << 30); }

  Stream stream_ = *Stream::Create();
  DeviceWeights weights_{1};
  CudaProbe probe_{stream_.get(), weights_};
};

// Enough for the library's workspace, not for the buffer.
TEST_F(ProbeFailuresTest, TooLittleMemoryForTheCeilings) {
  emulator::SetFreeBytes((int64_t{32} << 20) + (64 << 10));
  const absl::Status status = probe_.MeasureCeilings().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("655360 bytes for measuring the ceilings"));
  emulator::SetFreeBytes(int64_t{8} << 30);
  EXPECT_TRUE(probe_.MeasureCeilings().ok());
  emulator::SetFreeBytes(0);
  EXPECT_TRUE(probe_.MeasureCeilings().ok());  // the buffer is kept
}

TEST_F(ProbeFailuresTest, ALostDeviceSurfaces) {
  probe_.Mark();
  probe_.Mark();
  emulator::FailNextWait(cudaErrorIllegalAddress);
  EXPECT_EQ(probe_.TakeLaps().status().code(), absl::StatusCode::kInternal);
  probe_.Mark();
  probe_.Mark();
  EXPECT_THAT(*probe_.TakeLaps(), SizeIs(1));  // of the new marks only
  ASSERT_TRUE(probe_.MeasureCeilings().ok());
  emulator::FailNextWait(cudaErrorIllegalAddress);
  EXPECT_EQ(probe_.MeasureCeilings().status().code(), absl::StatusCode::kInternal);
}

TEST(EmulatedEventTest, HasATimeOnceItIsReached) {
  const Stream stream = *Stream::Create();
  const Event first = *Event::CreateTimed();
  const Event second = *Event::CreateTimed();
  EXPECT_EQ(second.SecondsSince(first).status().code(), absl::StatusCode::kInternal);
  ASSERT_EQ(first.Record(stream.get()), cudaSuccess);
  ASSERT_EQ(second.Record(stream.get()), cudaSuccess);
  EXPECT_FALSE(second.SecondsSince(first).ok());
  ASSERT_EQ(first.Wait(), cudaSuccess);
  EXPECT_FALSE(second.SecondsSince(first).ok());
  ASSERT_EQ(second.Wait(), cudaSuccess);
  EXPECT_GE(*second.SecondsSince(first), 0);
}

TEST(EmulatedEventTest, HasNoTimeIfItIsMadeWithout) {
  const Stream stream = *Stream::Create();
  const Event first = *Event::Create();
  const Event second = *Event::Create(cudaEventBlockingSync);
  ASSERT_EQ(first.Record(stream.get()), cudaSuccess);
  ASSERT_EQ(second.Record(stream.get()), cudaSuccess);
  ASSERT_EQ(second.Wait(), cudaSuccess);
  float ms = 0;
  EXPECT_EQ(cudaEventElapsedTime(&ms, first.get(), second.get()), cudaErrorInvalidResourceHandle);
}

// An event may go before the stream gets to it.
TEST(EmulatedEventTest, MayBeDestroyedEarly) {
  const Stream stream = *Stream::Create();
  ASSERT_EQ(Event::CreateTimed()->Record(stream.get()), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
}

}  // namespace
}  // namespace skipstone::cuda
