// Failures that a healthy machine does not show, on the emulator.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/cuda/cuda_backend.h"
#include "tests/engine/cpu/stage_driver.h"
#include "tests/engine/cpu/stage_model.h"
#include "tests/engine/cuda/emulator/emulator.h"

namespace skipstone {
namespace {

using testing::HasSubstr;

ModelShape SmallShape() {
  return {.num_layers = 1,
          .hidden = 64,
          .heads = 1,
          .kv_heads = 1,
          .head_dim = 64,
          .ffn = 96,
          .vocab = 61,
          .max_context = 128};
}

constexpr StepLimits kLimits{
    .max_rows = 8, .max_logits_rows = 8, .max_slots = 2, .page_tokens = 16, .num_pages = 4};

TEST(CudaFailuresTest, NoDevice) {
  emulator::SetDevices(0);
  EXPECT_FALSE(HasCudaDevice());
  const auto backend = MakeCudaBackend(SmallShape());
  emulator::SetDevices(1);
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(backend.status().message()), HasSubstr("no CUDA-capable device"));
}

TEST(CudaFailuresTest, TooLittleMemoryForTheWeights) {
  const StageModel model(SmallShape(), DType::kBF16);
  const auto backend = *MakeCudaBackend(SmallShape());
  emulator::SetFreeBytes(100);
  const auto added = backend->AddWeights({&model.embedding, 1});
  EXPECT_EQ(backend->FreeBytes(), 0);
  emulator::SetFreeBytes(int64_t{8} << 30);
  ASSERT_FALSE(added.ok());
  EXPECT_EQ(added.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(added.status().message()), HasSubstr("for weights"));
}

// The step that met the error reports it, and so does every later one.
TEST(CudaFailuresTest, ADeviceErrorSurfacesAtTheEndOfTheStep) {
  const StageModel model(SmallShape(), DType::kBF16);
  const auto backend = *MakeCudaBackend(SmallShape());
  const Weights weights = model.AddTo(*backend);
  ASSERT_TRUE(backend->Allocate(kLimits).ok());
  const int32_t zero[] = {0};
  const RowList one{.begin = 0, .count = 1};
  const LayerRows layers[] = {{one, one, one}};
  const RowRun runs[] = {{0, 1}};
  const StepInput step{
      .tokens = zero, .positions = zero, .slots = zero, .layers = layers, .runs = runs};
  const auto run = [&] {
    backend->BeginStep(step);
    Forward(step, weights, *backend);
    backend->EndStep();
    std::vector<LogitsResult> results;
    return backend->WaitStep(&results);
  };
  ASSERT_TRUE(run().ok());
  emulator::FailNextWait(cudaErrorIllegalAddress);
  EXPECT_EQ(run().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(run().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace skipstone
