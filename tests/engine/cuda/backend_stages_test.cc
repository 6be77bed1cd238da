// The stage suite on the CUDA backend.
#include "tests/engine/cpu/backend_stages.h"
#include "engine/cuda/cuda_backend.h"

namespace skipstone {
namespace {

StageCase CudaCase() {
  StageCase c{.name = "Cuda",
              .make_backend = nullptr,
              // 16-bit activations and pages: a rounding of 2^-11 or 2^-8 per stage.
              .tolerance = [](DType type) { return type == DType::kF16 ? 4e-2 : 0.2; },
              .types = {DType::kF16, DType::kBF16},
              .shape = {.num_layers = 2,
                        .hidden = 64,
                        .heads = 4,
                        .kv_heads = 2,
                        .head_dim = 64,
                        .ffn = 96,
                        .vocab = 61,
                        .max_context = 512},
              .heads = {{64, 4, 4}, {64, 6, 2}, {64, 8, 1}, {128, 2, 2}, {128, 2, 1}, {128, 5, 1}},
              .hidden = {40, 72, 136}};
  if (!HasCudaDevice()) return c;
  c.make_backend = [](const ModelShape& shape) {
    auto backend = MakeCudaBackend(shape);
    SKIPSTONE_CHECK(backend.ok());
    return *std::move(backend);
  };
  return c;
}

INSTANTIATE_TEST_SUITE_P(Cuda, BackendStagesTest, testing::Values(CudaCase()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace skipstone
