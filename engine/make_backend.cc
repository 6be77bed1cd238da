#include "engine/make_backend.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/status.h"
#include "engine/backend/random_fill.h"
#include "engine/cpu/cpu_backend.h"
#if SKIPSTONE_WITH_CUDA
#include "engine/cuda/cuda_backend.h"
#endif

namespace skipstone {
namespace {

// First line of a cgroup v2 file of this process's group, empty if there is none. In a container
// the group is the root of the mounted hierarchy.
std::string ReadCgroup(const char* file) {
  std::ifstream in(std::string("/sys/fs/cgroup/") + file);
  std::string line;
  std::getline(in, line);
  return line;
}

// `weight_type`: the 16-bit type of most weights; a backend of one type brings all to it.
absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(
    const ModelShape& shape, const BackendOptions& options,
    [[maybe_unused]] std::optional<DType> weight_type) {
  const std::string& name = options.backend;
  if (name != "auto" && name != "cpu" && name != "cuda") {
    return absl::InvalidArgumentError(
        absl::StrFormat("backend '%s' is not one of auto, cpu, cuda", name));
  }
  const int threads = options.threads > 0 ? options.threads : AvailableCpus();
#if SKIPSTONE_WITH_CUDA
  if (name == "cuda" || (name == "auto" && HasCudaDevice())) {
    return MakeCudaBackend(
        shape,
        {.threads = threads, .tuning_cache = options.tuning_cache, .weight_type = weight_type});
  }
#else
  if (name == "cuda") {
    return absl::UnavailableError("backend 'cuda' is not compiled into this binary");
  }
#endif
  const int64_t memory = options.memory_bytes > 0 ? options.memory_bytes : AvailableMemoryBytes();
  return MakeCpuBackend(shape, {.threads = threads, .memory_bytes = memory});
}

uint64_t Fingerprint(const ModelConfig& config, const ModelTensors& tensors) {
  const ModelShape& s = config.shape;
  uint64_t hash = Fnv1a64(absl::StrFormat(
      "%d %d %d %d %d %d %d %g %g %s", s.num_layers, s.hidden, s.heads, s.kv_heads, s.head_dim,
      s.ffn, s.vocab, s.norm_epsilon, s.rope_theta, NameOf(tensors.matrix_type())));
  // A sample of the weights tells fine-tuned models apart without reading gigabytes.
  char sample[4096];
  const auto add = [&](const Tensor& t) {
    const size_t bytes = std::min(t.bytes(), sizeof(sample));
    if (t.data == nullptr) {
      FillUniform({.type = t.type, .seed = t.seed, .inputs = t.cols}, 0,
                  static_cast<int64_t>(bytes / SizeOf(t.type)), sample);
    }
    const void* from = t.data == nullptr ? sample : t.data;
    hash = Fnv1a64(std::string_view(static_cast<const char*>(from), bytes), hash);
  };
  add(tensors.embedding);
  add(tensors.head);
  for (const LayerTensors& layer : tensors.layers) {
    add(layer.q);
    add(layer.down);
  }
  return hash;
}

}  // namespace

int AvailableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  // cpu.max: "max 100000" or "QUOTA PERIOD", in microseconds.
  long long quota = 0;
  long long period = 0;
  if (std::sscanf(ReadCgroup("cpu.max").c_str(), "%lld %lld", &quota, &period) == 2 && period > 0) {
    cpus = std::min<int>(cpus, static_cast<int>((quota + period - 1) / period));
  }
  return std::max(1, cpus);
}

int64_t AvailableMemoryBytes() {
  int64_t bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
  long long limit = 0;
  if (std::sscanf(ReadCgroup("memory.max").c_str(), "%lld", &limit) == 1 && limit > 0) {
    bytes = std::min<int64_t>(bytes, limit);
  }
  return bytes;
}

absl::StatusOr<LoadedModel> LoadModel(const std::string& model, const BackendOptions& options) {
  LoadedModel loaded;
  SyntheticSpec spec;
  ModelTensors tensors;
  const bool synthetic = IsSyntheticModel(model);
  if (synthetic) {
    SKIPSTONE_ASSIGN_OR_RETURN(spec, ParseSyntheticModel(model));
    loaded.config = spec.config;
  } else {
    SKIPSTONE_ASSIGN_OR_RETURN(loaded.config, ReadModelConfig(model));
    SKIPSTONE_ASSIGN_OR_RETURN(Safetensors file, Safetensors::OpenDirectory(model));
    loaded.file = std::make_unique<Safetensors>(std::move(file));
    SKIPSTONE_ASSIGN_OR_RETURN(tensors, FindTensors(loaded.config, *loaded.file));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(loaded.backend,
                             MakeBackend(loaded.config.shape, options, tensors.sixteen_bit_type()));
  if (synthetic) {
    SKIPSTONE_ASSIGN_OR_RETURN(
        loaded.synthetic,
        SyntheticWeights::Make(spec, options.threads > 0 ? options.threads : AvailableCpus(),
                               loaded.backend->MakesRandomWeights() ? SyntheticMatrices::kSeeded
                                                                    : SyntheticMatrices::kFilled));
    tensors = loaded.synthetic->tensors();
  }
  loaded.weight_type = tensors.matrix_type();
  loaded.fingerprint = Fingerprint(loaded.config, tensors);
  SKIPSTONE_ASSIGN_OR_RETURN(loaded.weights, LoadWeights(tensors, *loaded.backend));
  return loaded;
}

}  // namespace skipstone
