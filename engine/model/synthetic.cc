#include "engine/model/synthetic.h"

#include <sys/mman.h>
#include <algorithm>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/hash.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "engine/backend/random_fill.h"

namespace skipstone {
namespace {

constexpr std::string_view kPrefix = "synthetic:";

constexpr char kForms[] =
    "synthetic:llama-2-7b, -13b or -70b, or synthetic:layers=4,hidden=512,heads=8,kv_heads=4,"
    "ffn=1408,vocab=2048[,context=4096][,type=bf16|f16|f32]";

absl::Status Error(const std::string& model, const std::string& why) {
  return absl::InvalidArgumentError(
      absl::StrFormat("model '%s': %s (forms: %s)", model, why, kForms));
}

struct Field {
  int ModelShape::*member;
  int max;
};

const std::map<std::string, Field>& Fields() {
  static const auto* const fields = new std::map<std::string, Field>{
      {"layers", {&ModelShape::num_layers, kMaxServedLayers}},
      {"hidden", {&ModelShape::hidden, kMaxServedHidden}},
      {"heads", {&ModelShape::heads, kMaxServedHeads}},
      {"kv_heads", {&ModelShape::kv_heads, kMaxServedHeads}},
      {"ffn", {&ModelShape::ffn, kMaxServedFfn}},
      {"vocab", {&ModelShape::vocab, kMaxServedVocab}},
      {"context", {&ModelShape::max_context, kMaxServedContext}},
  };
  return *fields;
}

absl::Status ParseField(const std::string& key, const std::string& value, SyntheticSpec* spec) {
  if (key == "type") {
    for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
      if (value == NameOf(type)) {
        spec->type = type;
        return absl::OkStatus();
      }
    }
    return absl::InvalidArgumentError(
        absl::StrFormat("type '%s' is none of f32, f16, bf16", value));
  }
  const auto field = Fields().find(key);
  if (field == Fields().end()) {
    return absl::InvalidArgumentError(absl::StrFormat("unknown key '%s'", key));
  }
  int number = 0;
  if (!absl::SimpleAtoi(value, &number) || number < 1 || number > field->second.max) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s=%s is no integer from 1 to %d", key, value, field->second.max));
  }
  spec->config.shape.*field->second.member = number;
  return absl::OkStatus();
}

// "key=value,key=value". Every size but kv_heads and context must be given, none twice.
absl::StatusOr<SyntheticSpec> ParseFields(const std::string& model, const std::string& text) {
  SyntheticSpec spec;
  std::map<std::string, std::string> values;
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(text, ','))) {
    const std::pair<std::string, std::string> item = absl::StrSplit(part, absl::MaxSplits('=', 1));
    if (!values.insert(item).second) {
      return Error(model, absl::StrFormat("'%s' is given twice", item.first));
    }
    const absl::Status status = ParseField(item.first, item.second, &spec);
    if (!status.ok()) return Error(model, std::string(status.message()));
  }
  for (const char* key : {"layers", "hidden", "heads", "ffn", "vocab"}) {
    if (values.count(key) == 0) return Error(model, absl::StrFormat("'%s' is missing", key));
  }
  ModelShape& shape = spec.config.shape;
  if (shape.kv_heads == 0) shape.kv_heads = shape.heads;
  if (shape.max_context == 0) shape.max_context = 4096;
  SKIPSTONE_RETURN_IF_ERROR(CompleteShape("model '" + model + "'", &shape));
  return spec;
}

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
  ParallelFor(threads, std::ssize(chunks), [&](int64_t i) { FillChunk(chunks[i]); });
}

}  // namespace

bool IsSyntheticModel(std::string_view model) { return model.substr(0, kPrefix.size()) == kPrefix; }

absl::StatusOr<SyntheticSpec> ParseSyntheticModel(std::string_view model_view) {
  const std::string model(model_view);
  if (!IsSyntheticModel(model)) return Error(model, "it does not begin with 'synthetic:'");
  const std::string name = model.substr(kPrefix.size());
  // The published shapes; context 4096, epsilon 1e-5, theta 10000 in all three.
  static const auto* const known = new std::map<std::string, std::string>{
      {"llama-2-7b", "layers=32,hidden=4096,heads=32,kv_heads=32,ffn=11008,vocab=32000"},
      {"llama-2-13b", "layers=40,hidden=5120,heads=40,kv_heads=40,ffn=13824,vocab=32000"},
      {"llama-2-70b", "layers=80,hidden=8192,heads=64,kv_heads=8,ffn=28672,vocab=32000"},
  };
  const auto found = known->find(name);
  if (found != known->end()) return ParseFields(model, found->second);
  if (name.find('=') == std::string::npos) return Error(model, "no such shape is known");
  return ParseFields(model, name);
}

absl::StatusOr<std::unique_ptr<SyntheticWeights>> SyntheticWeights::Make(
    const SyntheticSpec& spec, int threads, SyntheticMatrices matrices) {
  auto weights = std::make_unique<SyntheticWeights>();
  std::vector<Job> jobs = PlanTensors(spec, &weights->tensors_);
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
  weights->memory_ = std::shared_ptr<void>(memory, [bytes](void* m) { munmap(m, bytes); });
  madvise(memory, bytes, MADV_HUGEPAGE);
  size_t offset = 0;
  for (const Job& job : jobs) {
    job.tensor->data = static_cast<std::byte*>(memory) + offset;
    offset += padded(*job.tensor);
  }
  FillAll(jobs, threads);
  return weights;
}

}  // namespace skipstone
