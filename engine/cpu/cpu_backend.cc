#include "engine/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "engine/cpu/attention.h"
#include "engine/cpu/buffer.h"
#include "engine/cpu/dot_block.h"
#include "engine/cpu/matmul.h"
#include "engine/cpu/page_store.h"
#include "engine/cpu/rope_table.h"
#include "engine/cpu/sampler.h"
#include "engine/cpu/sampling_state.h"
#include "engine/cpu/thread_pool.h"
#include "engine/cpu/vector_ops.h"

namespace skipstone {
namespace {

// Logits of so many rows exist at a time.
constexpr int kLogitsRows = 64;
// Two cores of AVX2 did 180 GFLOP/s and read 30 GB/s of bf16 weights: 2 FLOPs for each 2 bytes.
constexpr double kRowsPerRead = 6;

struct WeightGroup {
  std::vector<Tensor> matrices;
  std::vector<float> vector;    // a lone row as f32: norms may be 16-bit
  std::vector<Buffer> widened;  // f32 copies: matrices with one input must agree on its arrangement
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(const ModelShape& shape, const CpuOptions& options)
      : shape_(shape),
        memory_bytes_(options.memory_bytes),
        pool_(options.threads),
        matmul_(pool_),
        attention_(shape, pool_) {}

  std::string name() const override { return "cpu"; }
  bool asynchronous() const override { return false; }
  bool Serves(std::string_view) const override { return true; }
  bool MakesRandomWeights() const override { return false; }
  absl::StatusOr<WeightId> AddWeights(std::span<const Tensor> group) override;
  int64_t PageBytes(int page_tokens) const override {
    return PageStore::PageBytes(shape_, page_tokens);
  }
  double RowsPerRead() const override { return kRowsPerRead; }
  int64_t FreeBytes() const override { return std::max<int64_t>(0, memory_bytes_ - used_bytes_); }
  absl::Status Allocate(const StepLimits& limits) override;
  BackendUsage Usage() const override;
  DeviceProbe* probe() override { return nullptr; }

  void BeginStep(const StepInput& step) override;
  void Embed(WeightId table) override;
  void QkvStore(int layer, WeightId norm, WeightId qkv) override;
  void Attend(int layer) override;
  void ProjectAdd(int layer, Sublayer sublayer, WeightId w) override;
  void GateUp(int layer, WeightId norm, WeightId gate_up) override;
  void Logits(WeightId norm, WeightId head) override;
  void EndStep() override;
  absl::Status WaitStep(std::vector<LogitsResult>* results) override;
  void Run(const std::function<void()>& forward) override { forward(); }
  void EndWarmUp() override {}

 private:
  absl::StatusOr<Buffer> Widened(const Tensor& matrix);
  const Tensor& Matrix2d(WeightId id, int i = 0) const { return weights_[id.index].matrices[i]; }
  // normed_[r] = RmsNorm(residual_[r]) * norm for the rows of the list, arranged for products with
  // the group `weights`.
  void Norm(const RowList& rows, WeightId norm, WeightId weights);
  // Rotates the key of a row, moves its key and value to their page.
  void StoreRow(int layer, int row);
  void ReduceRows(int first, int count);

  const ModelShape shape_;
  const int64_t memory_bytes_;
  int64_t used_bytes_ = 0;
  StepLimits limits_;
  ThreadPool pool_;
  MatMul matmul_;
  Attention attention_;
  std::vector<WeightGroup> weights_;
  std::set<const void*> counted_;  // a tied head is the embedding

  PageStore pages_;
  RopeTable rope_;
  Matrix residual_;  // [row][hidden]
  Matrix normed_;    // [row][hidden]
  Matrix queries_;   // [row][q_size]; after Attend its output
  Matrix keys_;      // [row][kv_size]
  Matrix values_;    // [row][kv_size]
  Matrix gated_;     // [row][ffn]
  Matrix logits_;    // [kLogitsRows][vocab]
  Matrix scratch_;   // [thread][2 * vocab], for sampling

  StepInput step_;
  std::vector<SamplingState> slots_;
  std::vector<LogitsResult> results_;
  std::deque<std::vector<LogitsResult>> finished_;
};

absl::StatusOr<Buffer> CpuBackend::Widened(const Tensor& matrix) {
  const int64_t elements = matrix.rows * matrix.cols;
  Buffer copy = Buffer::Map(elements * static_cast<int64_t>(sizeof(float)));
  if (copy.as<float>() == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("no address space for the f32 copy of a %s matrix of [%d, %d]",
                        NameOf(matrix.type), matrix.rows, matrix.cols));
  }
  pool_.ParallelFor(matrix.rows, [&](int64_t row, int) {
    const int64_t first = row * matrix.cols;
    ToFloat(static_cast<const char*>(matrix.data) + first * SizeOf(matrix.type), matrix.type,
            matrix.cols, copy.as<float>() + first);
  });
  return copy;
}

absl::StatusOr<WeightId> CpuBackend::AddWeights(std::span<const Tensor> group) {
  if (group.empty()) return absl::InvalidArgumentError("a weight group must not be empty");
  WeightGroup added;
  for (const Tensor& tensor : group) {
    if (tensor.data == nullptr || tensor.rows < 1 || tensor.cols < 1) {
      return absl::InvalidArgumentError(
          absl::StrFormat("a weight of shape [%d, %d] is empty", tensor.rows, tensor.cols));
    }
    if (tensor.cols != group[0].cols) {
      return absl::InvalidArgumentError(
          absl::StrFormat("matrices of a group must share their inputs: [.., %d] and [.., %d]",
                          group[0].cols, tensor.cols));
    }
    added.matrices.push_back(tensor);
  }
  const bool mixed = std::ranges::any_of(
      group, [&](const Tensor& tensor) { return tensor.type != group[0].type; });
  for (Tensor& matrix : added.matrices) {
    if (mixed && matrix.type != DType::kF32) {
      SKIPSTONE_ASSIGN_OR_RETURN(Buffer copy, Widened(matrix));
      matrix.data = copy.as<float>();
      matrix.type = DType::kF32;
      added.widened.push_back(std::move(copy));
    }
    if (counted_.insert(matrix.data).second) used_bytes_ += matrix.bytes();
  }
  if (group.size() == 1 && group[0].rows == 1) {
    added.vector.resize(group[0].cols);
    ToFloat(group[0].data, group[0].type, group[0].cols, added.vector.data());
  }
  weights_.push_back(std::move(added));
  return WeightId{static_cast<int>(weights_.size()) - 1};
}

absl::Status CpuBackend::Allocate(const StepLimits& limits) {
  const int64_t page_bytes = limits.num_pages * PageBytes(limits.page_tokens);
  if (page_bytes > FreeBytes()) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%d K/V pages take %d bytes, %d of the %d allowed are free",
                        limits.num_pages, page_bytes, FreeBytes(), memory_bytes_));
  }
  SKIPSTONE_RETURN_IF_ERROR(pages_.Allocate(shape_, limits));
  limits_ = limits;
  rope_ = RopeTable(shape_);
  residual_ = Matrix(limits.max_rows, shape_.hidden);
  normed_ = Matrix(limits.max_rows, shape_.hidden);
  queries_ = Matrix(limits.max_rows, shape_.q_size());
  keys_ = Matrix(limits.max_rows, shape_.kv_size());
  values_ = Matrix(limits.max_rows, shape_.kv_size());
  gated_ = Matrix(limits.max_rows, shape_.ffn);
  logits_ = Matrix(std::min(limits.max_logits_rows, kLogitsRows), shape_.vocab);
  scratch_ = Matrix(pool_.num_threads(), int64_t{2} * shape_.vocab);
  slots_.resize(limits.max_slots);
  used_bytes_ += page_bytes;
  for (const Matrix* m :
       {&residual_, &normed_, &queries_, &keys_, &values_, &gated_, &logits_, &scratch_}) {
    if (!m->valid()) return absl::ResourceExhaustedError("no address space for step buffers");
    used_bytes_ += m->bytes();
  }
  return absl::OkStatus();
}

BackendUsage CpuBackend::Usage() const {
  int64_t buffers = 0;
  for (const Matrix* matrix :
       {&residual_, &normed_, &queries_, &keys_, &values_, &gated_, &logits_, &scratch_}) {
    buffers += matrix->bytes();
  }
  const int64_t pages = limits_.num_pages * PageBytes(limits_.page_tokens);
  return {
      .weight_bytes = used_bytes_ - pages - buffers, .page_bytes = pages, .buffer_bytes = buffers};
}

void CpuBackend::BeginStep(const StepInput& step) {
  SKIPSTONE_CHECK(std::ssize(step.tokens) <= limits_.max_rows);
  SKIPSTONE_CHECK(std::ssize(step.logits) <= limits_.max_logits_rows);
  step_ = step;
  pages_.Update(step.page_updates);
  for (const SlotStart& start : step.slot_starts) slots_[start.slot] = SamplingState(start);
  results_.assign(step.logits.size(), {});
}

void CpuBackend::Embed(WeightId table) {
  const Tensor& t = Matrix2d(table);
  const int64_t row_bytes = t.cols * static_cast<int64_t>(SizeOf(t.type));
  for (int r = 0; r < std::ssize(step_.tokens); ++r) {
    int32_t token = step_.tokens[r];
    if (token == kSampledToken) token = slots_[step_.slots[r]].last_token();
    SKIPSTONE_CHECK(token >= 0 && token < t.rows);
    ToFloat(static_cast<const char*>(t.data) + token * row_bytes, t.type, t.cols, residual_.row(r));
  }
}

void CpuBackend::Norm(const RowList& rows, WeightId norm, WeightId weights) {
  const DType type = Matrix2d(weights).type;
  const float* weight = weights_[norm.index].vector.data();
  pool_.ParallelFor(rows.count, [&](int64_t i, int) {
    RmsNorm(residual_.row(rows[i]), weight, shape_.norm_epsilon, shape_.hidden,
            normed_.row(rows[i]));
    ArrangeInput(type, shape_.hidden, normed_.row(rows[i]));
  });
}

void CpuBackend::QkvStore(int layer, WeightId norm, WeightId qkv) {
  const LayerRows& rows = step_.layers[layer];
  Norm(rows.kv_rows, norm, qkv);
  const MatMulJob jobs[] = {
      {.rows = rows.query_rows, .input = &normed_, .weight = Matrix2d(qkv, 0), .output = &queries_},
      {.rows = rows.kv_rows, .input = &normed_, .weight = Matrix2d(qkv, 1), .output = &keys_},
      {.rows = rows.kv_rows, .input = &normed_, .weight = Matrix2d(qkv, 2), .output = &values_},
  };
  matmul_.Run(jobs);
  const int queries = rows.query_rows.count;
  pool_.ParallelFor(queries + rows.kv_rows.count, [&](int64_t i, int) {
    if (i < queries) {
      const int row = rows.query_rows[i];
      rope_.Apply(step_.positions[row], shape_.heads, queries_.row(row));
    } else {
      StoreRow(layer, rows.kv_rows[i - queries]);
    }
  });
}

void CpuBackend::StoreRow(int layer, int row) {
  const int position = step_.positions[row];
  const int slot = step_.slots[row];
  rope_.Apply(position, shape_.kv_heads, keys_.row(row));
  for (int h = 0; h < shape_.kv_heads; ++h) {
    std::copy_n(keys_.row(row) + h * shape_.head_dim, shape_.head_dim,
                pages_.Token(slot, layer, position, PageStore::Part::kKey, h));
    std::copy_n(values_.row(row) + h * shape_.head_dim, shape_.head_dim,
                pages_.Token(slot, layer, position, PageStore::Part::kValue, h));
  }
}

void CpuBackend::Attend(int layer) {
  attention_.Run(step_, step_.layers[layer].query_rows, layer, pages_, queries_);
}

void CpuBackend::ProjectAdd(int layer, Sublayer sublayer, WeightId w) {
  const LayerRows& rows = step_.layers[layer];
  const bool attention = sublayer == Sublayer::kAttention;
  const Tensor& weight = Matrix2d(w);
  const MatMulJob job{.rows = attention ? rows.query_rows : rows.mlp_rows,
                      .input = attention ? &queries_ : &gated_,
                      .weight = weight,
                      .output = &residual_,
                      .store = MatMulJob::Store::kAdd};
  pool_.ParallelFor(job.rows.count, [&](int64_t i, int) {
    ArrangeInput(weight.type, weight.cols, job.input->row(job.rows[i]));
  });
  matmul_.Run({&job, 1});
}

void CpuBackend::GateUp(int layer, WeightId norm, WeightId gate_up) {
  const RowList& rows = step_.layers[layer].mlp_rows;
  Norm(rows, norm, gate_up);
  const MatMulJob job{.rows = rows,
                      .input = &normed_,
                      .weight = Matrix2d(gate_up, 0),
                      .up = Matrix2d(gate_up, 1),
                      .output = &gated_,
                      .store = MatMulJob::Store::kSilu};
  matmul_.Run({&job, 1});
}

void CpuBackend::Logits(WeightId norm, WeightId head) {
  const int total = static_cast<int>(step_.logits.size());
  Norm({.begin = 0, .count = total}, norm, head);
  for (int first = 0; first < total; first += kLogitsRows) {
    const int count = std::min(kLogitsRows, total - first);
    const MatMulJob job{.rows = {.begin = first, .count = count},
                        .input = &normed_,
                        .weight = Matrix2d(head),
                        .output = &logits_,
                        .output_base = first};
    matmul_.Run({&job, 1});
    ReduceRows(first, count);
  }
}

// A slot samples from one row of a step at most, so rows may run side by side.
void CpuBackend::ReduceRows(int first, int count) {
  const size_t vocab = shape_.vocab;
  pool_.ParallelFor(count, [&](int64_t i, int thread) {
    const LogitsRow& row = step_.logits[first + i];
    results_[first + i] = ReduceLogits({logits_.row(i), vocab}, row, slots_[row.slot],
                                       {scratch_.row(thread), 2 * vocab});
  });
  for (int i = first; i < first + count; ++i) {
    if (step_.logits[i].sample) slots_[step_.logits[i].slot].Append(results_[i].sampled.id);
  }
}

void CpuBackend::EndStep() {
  finished_.push_back(std::move(results_));
  results_.clear();
  step_ = {};
}

absl::Status CpuBackend::WaitStep(std::vector<LogitsResult>* results) {
  SKIPSTONE_CHECK(!finished_.empty());
  *results = std::move(finished_.front());
  finished_.pop_front();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(const ModelShape& shape,
                                                        const CpuOptions& options) {
  if (shape.head_dim < 8 || shape.head_dim % 8 != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("head_dim %d: the CPU backend serves multiples of 8", shape.head_dim));
  }
  if (shape.kv_heads < 1 || shape.heads % shape.kv_heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("heads %d: not a multiple of kv_heads %d", shape.heads, shape.kv_heads));
  }
  if (shape.heads / shape.kv_heads > Attention::kMaxGroup) {
    return absl::InvalidArgumentError(
        absl::StrFormat("heads / kv_heads is %d: the CPU backend serves at most %d",
                        shape.heads / shape.kv_heads, Attention::kMaxGroup));
  }
  if (options.threads < 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("threads %d: at least 1 is needed", options.threads));
  }
  return std::make_unique<CpuBackend>(shape, options);
}

}  // namespace skipstone
