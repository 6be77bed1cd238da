// The suite of backend_stages.h on the CPU backend, and what it refuses.
#include "engine/cpu/cpu_backend.h"

#include "gmock/gmock.h"
#include "tests/engine/cpu/backend_stages.h"

namespace skipstone {
namespace {

StageCase CpuCase(const std::string& name, int threads) {
  return {.name = name,
          .make_backend =
              [threads](const ModelShape& shape) {
                auto backend =
                    MakeCpuBackend(shape, {.threads = threads, .memory_bytes = int64_t{4} << 30});
                SKIPSTONE_CHECK(backend.ok());
                return *std::move(backend);
              },
          .tolerance = [](DType) { return 2e-4; },
          .types = {DType::kF32, DType::kF16, DType::kBF16},
          .shape = {.num_layers = 2,
                    .hidden = 48,
                    .heads = 4,
                    .kv_heads = 2,
                    .head_dim = 16,
                    .ffn = 84,
                    .vocab = 61,
                    .max_context = 512},
          .heads = {{8, 4, 4}, {16, 6, 3}, {24, 4, 1}, {40, 2, 2}, {64, 8, 1}, {128, 2, 1}},
          .hidden = {1, 3, 17, 31, 50}};
}

INSTANTIATE_TEST_SUITE_P(Cpu, BackendStagesTest,
                         testing::Values(CpuCase("OneThread", 1), CpuCase("ThreeThreads", 3)),
                         [](const auto& info) { return info.param.name; });

using testing::HasSubstr;

ModelShape Shape() { return CpuCase("", 1).shape; }

TEST(CpuBackendTest, RefusesShapesByName) {
  const auto message = [](const std::function<void(ModelShape&)>& change, int threads = 1) {
    ModelShape shape = Shape();
    change(shape);
    const auto backend = MakeCpuBackend(shape, {.threads = threads});
    EXPECT_EQ(backend.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(backend.status().message());
  };
  EXPECT_THAT(message([](ModelShape& s) { s.head_dim = 12; }), HasSubstr("head_dim 12"));
  EXPECT_THAT(message([](ModelShape& s) { s.head_dim = 0; }), HasSubstr("head_dim 0"));
  EXPECT_THAT(message([](ModelShape& s) { s.kv_heads = 3; }), HasSubstr("kv_heads 3"));
  EXPECT_THAT(message([](ModelShape& s) { s.heads = 130; }), HasSubstr("heads / kv_heads is 65"));
  EXPECT_THAT(message([](ModelShape&) {}, 0), HasSubstr("threads 0"));
}

TEST(CpuBackendTest, RefusesWeightsThatAreNoGroup) {
  const auto backend = *MakeCpuBackend(Shape(), {});
  const std::vector<float> memory(6);
  const Tensor matrix{memory.data(), DType::kF32, 2, 3};
  const Tensor others[] = {matrix, {memory.data(), DType::kF32, 3, 2}};
  const Tensor empty{nullptr, DType::kF32, 2, 3};
  EXPECT_TRUE(backend->AddWeights({&matrix, 1}).ok());
  EXPECT_THAT(std::string(backend->AddWeights({}).status().message()), HasSubstr("empty"));
  EXPECT_THAT(std::string(backend->AddWeights(others).status().message()),
              HasSubstr("[.., 3] and [.., 2]"));
  EXPECT_THAT(std::string(backend->AddWeights({&empty, 1}).status().message()),
              HasSubstr("[2, 3] is empty"));
}

TEST(CpuBackendTest, PagesStayWithinTheMemoryThatIsAllowed) {
  const auto backend = *MakeCpuBackend(Shape(), {.memory_bytes = 100000});
  const std::vector<float> memory(1000);
  const Tensor weight{memory.data(), DType::kF32, 10, 100};
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(backend->AddWeights({&weight, 1}).ok());
  EXPECT_EQ(backend->FreeBytes(), 96000) << "memory that two weights share counts once";
  EXPECT_EQ(backend->PageBytes(16), 4096);
  StepLimits limits = SmallLimits();
  limits.num_pages = 24;
  const absl::Status status = backend->Allocate(limits);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("24 K/V pages take 98304 bytes"));
  limits.num_pages = 23;
  EXPECT_TRUE(backend->Allocate(limits).ok());
  EXPECT_EQ(backend->Usage().weight_bytes, 4000);
  EXPECT_EQ(backend->Usage().page_bytes, 23 * 4096);
  EXPECT_EQ(backend->FreeBytes(), 0);
}

}  // namespace
}  // namespace skipstone
