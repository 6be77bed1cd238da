// What the backend refuses, and what it says where no device is.
#include "engine/cuda/cuda_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/engine/cpu/stage_model.h"

namespace skipstone {
namespace {

using testing::HasSubstr;

ModelShape SmallShape() {
  return {.num_layers = 1,
          .hidden = 64,
          .heads = 2,
          .kv_heads = 1,
          .head_dim = 64,
          .ffn = 96,
          .vocab = 61,
          .max_context = 128};
}

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

TEST(CudaBackendTest, WithoutADeviceSaysSo) {
  if (HasCudaDevice()) GTEST_SKIP() << "a device is there";
  const auto backend = MakeCudaBackend(SmallShape());
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(backend.status()), HasSubstr("cuda"));
}

TEST(CudaBackendTest, RefusesShapesByName) {
  ModelShape shape = SmallShape();
  shape.head_dim = 96;
  EXPECT_EQ(MakeCudaBackend(shape).status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(MessageOf(MakeCudaBackend(shape).status()), HasSubstr("head_dim 96"));
  shape = SmallShape();
  shape.hidden = 60;
  EXPECT_THAT(MessageOf(MakeCudaBackend(shape).status()), HasSubstr("hidden 60"));
  shape = SmallShape();
  shape.ffn = 100;
  EXPECT_THAT(MessageOf(MakeCudaBackend(shape).status()), HasSubstr("ffn 100"));
  shape = SmallShape();
  shape.heads = 3;
  shape.kv_heads = 2;
  EXPECT_THAT(MessageOf(MakeCudaBackend(shape).status()), HasSubstr("kv_heads 2"));
}

class CudaWeightsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasCudaDevice()) GTEST_SKIP() << "no device";
    backend_ = *MakeCudaBackend(SmallShape());
  }

  absl::Status Add(std::vector<Tensor> group) { return backend_->AddWeights(group).status(); }

  std::unique_ptr<Backend> backend_;
  std::vector<float> memory_ = std::vector<float>(64 * 64);
};

TEST_F(CudaWeightsTest, RefusesF32Matrices) {
  const absl::Status status = Add({{memory_.data(), DType::kF32, 2, 64}});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(MessageOf(status), HasSubstr("f32"));
}

TEST_F(CudaWeightsTest, TakesF32Norms) {
  EXPECT_TRUE(Add({{memory_.data(), DType::kF32, 1, 64}}).ok());
}

TEST_F(CudaWeightsTest, RefusesTwoTypesInOneModel) {
  ASSERT_TRUE(Add({{memory_.data(), DType::kBF16, 2, 64}}).ok());
  const absl::Status status = Add({{memory_.data(), DType::kF16, 2, 64}});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(MessageOf(status), HasSubstr("f16 beside bf16"));
}

TEST_F(CudaWeightsTest, RefusesGroupsThatDoNotMatch) {
  EXPECT_EQ(Add({}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      Add({{memory_.data(), DType::kBF16, 2, 64}, {memory_.data(), DType::kBF16, 2, 32}}).code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Add({{nullptr, DType::kBF16, 2, 64}}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Add({{memory_.data(), DType::kBF16, 1, 20}}).code(), absl::StatusCode::kUnimplemented);
}

TEST_F(CudaWeightsTest, RefusesPagesThatAreNoPowerOfTwo) {
  const StageModel model(SmallShape(), DType::kBF16);
  model.AddTo(*backend_);
  const absl::Status status = backend_->Allocate(
      {.max_rows = 8, .max_logits_rows = 8, .max_slots = 2, .page_tokens = 12, .num_pages = 4});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), HasSubstr("page_tokens 12"));
}

TEST_F(CudaWeightsTest, SaysWhatDoesNotFitIntoTheDevice) {
  const int64_t free = backend_->FreeBytes();
  ASSERT_GT(free, 0);
  const absl::Status status = backend_->Allocate({.max_rows = 8,
                                                  .max_logits_rows = 8,
                                                  .max_slots = 2,
                                                  .page_tokens = 16,
                                                  .num_pages = 4 * free / backend_->PageBytes(16)});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(status), HasSubstr("K/V pages"));
}

}  // namespace
}  // namespace skipstone
