// Models with the right shapes and seeded random weights, for benchmarks and tests without a
// download:  "synthetic:llama-2-7b"  (also 13b, 70b), or
// "synthetic:layers=4,hidden=512,heads=8,kv_heads=4,ffn=1408,vocab=2048[,context=N][,type=bf16]".
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/config.h"
#include "engine/model/weights.h"

namespace skipstone {

bool IsSyntheticModel(std::string_view model);

struct SyntheticSpec {
  ModelConfig config;
  DType type = DType::kBF16;
};

// INVALID_ARGUMENT names the key and the value. kv_heads defaults to heads, context to 4096, type
// to bf16; a custom shape has neither a beginning nor an end token, so nothing ends early.
absl::StatusOr<SyntheticSpec> ParseSyntheticModel(std::string_view model);

// kSeeded: the backend makes the matrices of their seeds; only the norms have data.
enum class SyntheticMatrices { kFilled, kSeeded };

// Owns the memory of the weights (anonymous, page aligned). Values are uniform with the standard
// deviation 1/sqrt(inputs), norms 1; a function of the tensor's name, so equal in every process.
class SyntheticWeights {
 public:
  // RESOURCE_EXHAUSTED if the memory is not there.
  static absl::StatusOr<std::unique_ptr<SyntheticWeights>> Make(
      const SyntheticSpec& spec, int threads,
      SyntheticMatrices matrices = SyntheticMatrices::kFilled);

  const ModelTensors& tensors() const { return tensors_; }

 private:
  std::shared_ptr<void> memory_;  // shared: only for its deleter, which unmaps
  ModelTensors tensors_;
};

}  // namespace skipstone
