#include "engine/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "engine/backend/logits_blocks.h"
#include "engine/cpu/attention.h"
#include "engine/cpu/buffer.h"
#include "engine/cpu/divergence.h"
#include "engine/cpu/dot_block.h"
#include "engine/cpu/map_adder.h"
#include "engine/cpu/matmul.h"
#include "engine/cpu/page_store.h"
#include "engine/cpu/rope_table.h"
#include "engine/cpu/sampler.h"
#include "engine/cpu/sampling_state.h"
#include "engine/cpu/thread_pool.h"
#include "engine/cpu/vector_ops.h"
#include "engine/cpu/weight_store.h"

namespace skipstone {
namespace {

// Logits of so many rows exist at a time.
constexpr int kLogitsRows = 64;
// Two cores of AVX2 did 180 GFLOP/s and read 30 GB/s of bf16 weights: 2 FLOPs for each 2 bytes.
constexpr double kRowsPerRead = 6;

class CpuBackend final : public Backend {
 public:
  CpuBackend(const ModelShape& shape, const CpuOptions& options)
      : shape_(shape),
        memory_bytes_(options.memory_bytes),
        pool_(options.threads),
        matmul_(pool_),
        attention_(shape, pool_),
        map_adder_(shape, weights_, pool_, matmul_) {}

  std::string name() const override { return "cpu"; }
  bool asynchronous() const override { return false; }
  bool Serves(std::string_view) const override { return true; }
  bool MakesRandomWeights() const override { return false; }
  absl::StatusOr<WeightId> AddWeights(std::span<const Tensor> group) override {
    return weights_.Add(group, pool_);
  }
  int64_t PageBytes(int page_tokens) const override {
    return PageStore::PageBytes(shape_, page_tokens);
  }
  double RowsPerRead() const override { return kRowsPerRead; }
  int64_t FreeBytes() const override {
    return std::max<int64_t>(0, memory_bytes_ - weights_.bytes() - allocated_bytes_);
  }
  absl::Status Allocate(const StepLimits& limits) override;
  BackendUsage Usage() const override;
  DeviceProbe* probe() override { return nullptr; }

  void BeginStep(const StepInput& step) override;
  void Embed(WeightId table) override;
  void QkvStore(int layer, WeightId norm, WeightId qkv) override;
  void Attend(int layer) override;
  void ProjectAdd(int layer, Sublayer sublayer, WeightId w) override;
  void GateUp(int layer, WeightId norm, WeightId gate_up) override;
  void AddMaps(int layer, Sublayer sublayer, WeightId norm,
               std::span<const MapWeights> maps) override;
  void Logits(WeightId norm, WeightId head) override;
  void ReadResidual(int first, int count, float* out) override {
    SKIPSTONE_CHECK(first >= 0 && first + count <= residual_.rows());
    for (int i = 0; i < count; ++i) {
      std::copy_n(residual_.row(first + i), shape_.hidden, out + int64_t{i} * shape_.hidden);
    }
  }
  void WriteResidual(int first, int count, const float* in) override {
    SKIPSTONE_CHECK(first >= 0 && first + count <= residual_.rows());
    for (int i = 0; i < count; ++i) {
      std::copy_n(in + int64_t{i} * shape_.hidden, shape_.hidden, residual_.row(first + i));
    }
  }
  void EndStep() override;
  absl::Status WaitStep(std::vector<LogitsResult>* results) override;
  void Run(const std::function<void()>& forward) override { forward(); }
  void EndWarmUp() override {}

 private:
  const Tensor& Matrix2d(WeightId id, int i = 0) const { return weights_.matrix(id, i); }
  // normed_[r] = RmsNorm(residual_[r]) * norm for the rows of the list, arranged for products with
  // the group `weights`.
  void Norm(const RowList& rows, WeightId norm, WeightId weights);
  // Rotates the key of a row, moves its key and value to their page.
  void StoreRow(int layer, int row);
  void ReduceRows(const LogitsBlock& block);

  const ModelShape shape_;
  const int64_t memory_bytes_;
  int64_t allocated_bytes_ = 0;  // pages and buffers
  StepLimits limits_;
  ThreadPool pool_;
  MatMul matmul_;
  Attention attention_;
  WeightStore weights_;
  MapAdder map_adder_;

  PageStore pages_;
  RopeTable rope_;
  Matrix residual_;  // [row][hidden]
  Matrix normed_;    // [row][hidden]
  Matrix queries_;   // [row][q_size]; after Attend its output
  Matrix keys_;      // [row][kv_size]
  Matrix values_;    // [row][kv_size]
  Matrix gated_;     // [row][max(ffn, hidden)]: a map's rank may exceed ffn
  Matrix compared_;  // [kLogitsRows][hidden]: rows of normed_ that are not a range
  Matrix logits_;    // [kLogitsRows][vocab]
  Matrix scratch_;   // [thread][2 * vocab], for sampling

  StepInput step_;
  std::vector<SamplingState> slots_;
  std::vector<LogitsResult> results_;
  std::deque<std::vector<LogitsResult>> finished_;
};

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
  gated_ = Matrix(limits.max_rows, std::max(shape_.ffn, shape_.hidden));
  // Two at least: a row and what it is compared with.
  const int logits_rows = std::clamp(limits.max_logits_rows, 2, kLogitsRows);
  compared_ = Matrix(logits_rows, shape_.hidden);
  logits_ = Matrix(logits_rows, shape_.vocab);
  scratch_ = Matrix(pool_.num_threads(), int64_t{2} * shape_.vocab);
  slots_.resize(limits.max_slots);
  allocated_bytes_ += page_bytes;
  for (const Matrix* m : {&residual_, &normed_, &queries_, &keys_, &values_, &gated_, &compared_,
                          &logits_, &scratch_}) {
    if (!m->valid()) return absl::ResourceExhaustedError("no address space for step buffers");
    allocated_bytes_ += m->bytes();
  }
  return absl::OkStatus();
}

BackendUsage CpuBackend::Usage() const {
  int64_t buffers = 0;
  for (const Matrix* matrix : {&residual_, &normed_, &queries_, &keys_, &values_, &gated_,
                               &compared_, &logits_, &scratch_}) {
    buffers += matrix->bytes();
  }
  const int64_t pages = limits_.num_pages * PageBytes(limits_.page_tokens);
  return {.weight_bytes = weights_.bytes(), .page_bytes = pages, .buffer_bytes = buffers};
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
  const float* weight = weights_.vector(norm);
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
  const MatMulJob job{.rows = attention ? rows.query_rows : rows.mlp_rows,
                      .input = attention ? &queries_ : &gated_,
                      .weight = Matrix2d(w),
                      .output = &residual_,
                      .store = MatMulJob::Store::kAdd};
  pool_.ParallelFor(job.rows.count, [&](int64_t i, int) {
    ArrangeInput(job.weight.type, job.weight.cols, job.input->row(job.rows[i]));
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

// gated_ is free: the rows take no part in the sublayer.
void CpuBackend::AddMaps(int layer, Sublayer sublayer, WeightId norm,
                         std::span<const MapWeights> maps) {
  const LayerRows& rows = step_.layers[layer];
  const auto lists = sublayer == Sublayer::kAttention ? rows.attention_maps : rows.mlp_maps;
  map_adder_.Run(lists, maps, weights_.vector(norm),
                 {.residual = residual_, .normed = normed_, .inner = gated_});
}

void CpuBackend::Logits(WeightId norm, WeightId head) {
  Norm({.begin = 0, .count = static_cast<int>(step_.logits.size())}, norm, head);
  for (const LogitsBlock& block : BlocksOf(step_.logits, static_cast<int>(logits_.rows()))) {
    const int count = static_cast<int>(block.size());
    for (int i = 0; i < count; ++i) {
      std::copy_n(normed_.row(block[i].row), shape_.hidden, compared_.row(i));
    }
    const MatMulJob job{.rows = {.begin = 0, .count = count},
                        .input = &compared_,
                        .weight = Matrix2d(head),
                        .output = &logits_};
    matmul_.Run({&job, 1});
    ReduceRows(block);
  }
}

// A slot samples from one row of a step at most, so rows may run side by side.
void CpuBackend::ReduceRows(const LogitsBlock& block) {
  const size_t vocab = shape_.vocab;
  pool_.ParallelFor(std::ssize(block), [&](int64_t i, int thread) {
    const LogitsEntry& entry = block[i];
    if (!entry.reduced) return;
    const LogitsRow& row = step_.logits[entry.row];
    LogitsResult& result = results_[entry.row];
    const std::span<const float> logits(logits_.row(i), vocab);
    result = ReduceLogits(logits, row, slots_[row.slot], {scratch_.row(thread), 2 * vocab});
    if (entry.reference >= 0) {
      result.kl = KlDivergence({logits_.row(entry.reference), vocab}, logits);
    }
  });
  for (const LogitsEntry& entry : block) {
    const LogitsRow& row = step_.logits[entry.row];
    if (entry.reduced && row.sample) slots_[row.slot].Append(results_[entry.row].sampled.id);
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
