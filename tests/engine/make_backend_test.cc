#include "engine/make_backend.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#if SKIPSTONE_WITH_CUDA
#include "engine/cuda/cuda_backend.h"
#endif

namespace skipstone {
namespace {

using testing::HasSubstr;

constexpr char kModel[] = "synthetic:layers=1,hidden=64,heads=1,kv_heads=1,ffn=64,vocab=64";

bool HasDevice() {
#if SKIPSTONE_WITH_CUDA
  return HasCudaDevice();
#else
  return false;
#endif
}

TEST(MakeBackendTest, AutoTakesADeviceOnlyWhereOneIs) {
  const auto loaded = LoadModel(kModel, {.backend = "auto", .threads = 1});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->backend->name(), HasDevice() ? "cuda" : "cpu");
}

TEST(MakeBackendTest, CpuIsCpuEverywhere) {
  const auto loaded = LoadModel(kModel, {.backend = "cpu", .threads = 1});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->backend->name(), "cpu");
}

TEST(MakeBackendTest, CudaWithoutADeviceIsAClearError) {
  if (HasDevice()) GTEST_SKIP() << "a device is there";
  const auto loaded = LoadModel(kModel, {.backend = "cuda", .threads = 1});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("backend 'cuda'"));
}

TEST(MakeBackendTest, NamesTheBackendsItKnows) {
  const auto loaded = LoadModel(kModel, {.backend = "tpu"});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("auto, cpu, cuda"));
}

TEST(MakeBackendTest, UsageTellsWeightsFromPagesAndBuffers) {
  const auto loaded = LoadModel(kModel, {.backend = "cpu", .threads = 1});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const int64_t weights = loaded->backend->Usage().weight_bytes;
  EXPECT_GT(weights, 0);
  ASSERT_TRUE(loaded->backend
                  ->Allocate({.max_rows = 8,
                              .max_logits_rows = 4,
                              .max_slots = 2,
                              .page_tokens = 16,
                              .num_pages = 100})
                  .ok());
  const BackendUsage usage = loaded->backend->Usage();
  EXPECT_EQ(usage.weight_bytes, weights) << "pages and buffers are no weights";
  EXPECT_EQ(usage.page_bytes, 100 * loaded->backend->PageBytes(16));
  EXPECT_GT(usage.buffer_bytes, 0);
}

}  // namespace
}  // namespace skipstone
