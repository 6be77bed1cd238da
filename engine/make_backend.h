// Opens a model on a backend: the one place that names both cpu and cuda.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/model/config.h"
#include "engine/model/safetensors.h"
#include "engine/model/synthetic.h"
#include "engine/model/weights.h"
#include "engine/skip/sublayer_maps.h"

namespace skipstone {

struct BackendOptions {
  std::string backend = "auto";  // "cpu", "cuda", "auto": cuda if compiled in and a device is there
  int threads = 0;               // 0: the CPUs this process may use
  std::string tuning_cache;      // CUDA: see CudaOptions
  int64_t memory_bytes = 0;      // CPU: limit for everything; 0: the cgroup's or the machine's
};

// A model whose weights are on a backend. The mapping (or the random memory) stays with it.
struct LoadedModel {
  ModelConfig config;
  DType weight_type = DType::kBF16;
  uint64_t fingerprint = 0;  // of configuration and tensor directory
  std::unique_ptr<Safetensors> file;
  std::unique_ptr<SyntheticWeights> synthetic;
  std::shared_ptr<const Safetensors> maps_file;  // of a levels file, shared with that
  std::unique_ptr<Backend> backend;              // declared after what its weights point into
  Weights weights;
  std::vector<LayerMaps> maps;  // that weights holds for skipped sublayers; empty: none
};

// `model` is a directory or "synthetic:...". Errors: NOT_FOUND, INVALID_ARGUMENT (model),
// UNAVAILABLE (no such backend or device), RESOURCE_EXHAUSTED.
absl::StatusOr<LoadedModel> LoadModel(const std::string& model, const BackendOptions& options);

// CPUs in the affinity mask, cut by the cgroup's cpu.max; at least 1.
int AvailableCpus();
// The cgroup's memory.max or the machine's memory, whichever is less.
int64_t AvailableMemoryBytes();

}  // namespace skipstone
