// The suite of backend_stages.h on the CPU backend.
#include "tests/engine/cpu/backend_stages.h"

#include "engine/cpu/cpu_backend.h"

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

}  // namespace
}  // namespace skipstone
