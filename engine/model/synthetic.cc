#include "engine/model/synthetic.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/status.h"
#include "engine/backend/random_fill.h"

namespace skipstone {
namespace {

// A tensor to be made: where its view goes, and the values.
struct Job {
  Tensor* tensor;
  bool norm;
};

std::vector<Job> PlanTensors(const SyntheticSpec& spec, ModelTensors* tensors) {
  const ModelShape& s = spec.config.shape;
  std::vector<Job> jobs;
  const auto add = [&](const std::string& name, int64_t rows, int64_t cols, Tensor* tensor) {
    *tensor = {nullptr, spec.type, rows, cols, Fnv1a64(name)};
    jobs.push_back({tensor, false});
  };
  const auto add_norm = [&](Tensor* tensor) {
    *tensor = {nullptr, spec.type, 1, s.hidden};
    jobs.push_back({tensor, true});
  };
  add("embedding", s.vocab, s.hidden, &tensors->embedding);
  tensors->layers.resize(s.num_layers);
  for (int layer = 0; layer < s.num_layers; ++layer) {
    LayerTensors& t = tensors->layers[layer];
    const std::string prefix = absl::StrFormat("layer %d ", layer);
    add_norm(&t.attention_norm);
    add(prefix + "q", s.q_size(), s.hidden, &t.q);
    add(prefix + "k", s.kv_size(), s.hidden, &t.k);
    add(prefix + "v", s.kv_size(), s.hidden, &t.v);
    add(prefix + "o", s.hidden, s.q_size(), &t.o);
    add_norm(&t.mlp_norm);
    add(prefix + "gate", s.ffn, s.hidden, &t.gate);
    add(prefix + "up", s.ffn, s.hidden, &t.up);
    add(prefix + "down", s.hidden, s.ffn, &t.down);
  }
  add_norm(&tensors->final_norm);
  add("head", s.vocab, s.hidden, &tensors->head);
  return jobs;
}

// Large enough to amortise the queue, small enough to spread a model over the threads.
constexpr int64_t kChunkElements = 1 << 18;
static_assert(kChunkElements % kRandomBlock == 0);

struct Chunk {
  const Job* job;
  int64_t begin;
  int64_t count;
};

void FillChunk(const Chunk& chunk) {
  const Tensor& tensor = *chunk.job->tensor;
  auto* const to =
      static_cast<std::byte*>(const_cast<void*>(tensor.data)) + chunk.begin * SizeOf(tensor.type);
  if (chunk.job->norm) {
    FillOnes(tensor.type, chunk.count, to);
  } else {
    FillUniform({.type = tensor.type, .seed = tensor.seed, .inputs = tensor.cols}, chunk.begin,
                chunk.count, to);
  }
}

void FillAll(const std::vector<Job>& jobs, int threads) {
  std::vector<Chunk> chunks;
  for (const Job& job : jobs) {
    const int64_t elements = job.tensor->rows * job.tensor->cols;
    for (int64_t begin = 0; begin < elements; begin += kChunkElements) {
      chunks.push_back({&job, begin, std::min(kChunkElements, elements - begin)});
    }
  }
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < chunks.size(); i = next++) FillChunk(chunks[i]);
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < threads; ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace

absl::Status SyntheticWeights::Fill(const SyntheticSpec& spec, int threads,
                                    SyntheticMatrices matrices) {
  std::vector<Job> jobs = PlanTensors(spec, &tensors_);
  if (matrices == SyntheticMatrices::kSeeded) std::erase_if(jobs, [](Job j) { return !j.norm; });
  // Whole pages per tensor, as generous an alignment as any kernel asks for.
  constexpr size_t kAlignment = 4096;
  const auto padded = [](const Tensor& t) {
    return (t.bytes() + kAlignment - 1) / kAlignment * kAlignment;
  };
  size_t bytes = 0;
  for (const Job& job : jobs) bytes += padded(*job.tensor);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("no memory for %d bytes of synthetic weights", bytes));
  }
  memory_ = memory;
  bytes_ = bytes;
  madvise(memory_, bytes_, MADV_HUGEPAGE);
  size_t offset = 0;
  for (const Job& job : jobs) {
    job.tensor->data = static_cast<std::byte*>(memory_) + offset;
    offset += padded(*job.tensor);
  }
  FillAll(jobs, threads);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SyntheticWeights>> SyntheticWeights::Make(
    const SyntheticSpec& spec, int threads, SyntheticMatrices matrices) {
  std::unique_ptr<SyntheticWeights> weights(new SyntheticWeights);
  SKIPSTONE_RETURN_IF_ERROR(weights->Fill(spec, threads, matrices));
  return weights;
}

SyntheticWeights::~SyntheticWeights() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

}  // namespace skipstone
