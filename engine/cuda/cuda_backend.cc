#include "engine/cuda/cuda_backend.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/check.h"
#include "engine/base/status.h"
#include "engine/cuda/device.h"
#include "engine/cuda/device_weights.h"
#include "engine/cuda/kernels/decode_attention.h"
#include "engine/cuda/kernels/embed.h"
#include "engine/cuda/kernels/page_update.h"
#include "engine/cuda/kernels/prefill_attention.h"
#include "engine/cuda/kernels/rms_norm.h"
#include "engine/cuda/kernels/rope_store.h"
#include "engine/cuda/kernels/sample.h"
#include "engine/cuda/kernels/skinny_matmul.h"
#include "engine/cuda/kernels/swiglu.h"
#include "engine/cuda/row_products.h"
#include "engine/cuda/slot_uploads.h"
#include "engine/cuda/step_buffers.h"
#include "engine/cuda/step_graphs.h"
#include "engine/cuda/step_upload.h"

namespace skipstone {
namespace cuda {
namespace {

constexpr int64_t kReservedBytes = int64_t{512} << 20;  // library, recorded steps, driver
constexpr int kUsualRows = 2048, kUsualSlots = 256;     // FreeBytes leaves room for such a step
constexpr double kRowsPerRead = 230;  // an H100's 700 TFLOP/s over 3 TB/s; not measured

class CudaBackend final : public Backend {
 public:
  CudaBackend(const ModelShape& shape, Device device)
      : shape_(shape),
        heads_{shape.heads, shape.kv_heads, shape.head_dim},
        stream_(std::move(device.stream)),
        split_(DecodeSplit::For(shape, device.multiprocessors)) {}

  std::string name() const override { return "cuda"; }
  absl::StatusOr<WeightId> AddWeights(std::span<const Tensor> group) override {
    SKIPSTONE_ASSIGN_OR_RETURN(const int index, weights_.Add(group, stream_.get()));
    return WeightId{index};
  }
  int64_t PageBytes(int page_tokens) const override {
    return StepBuffers::PageBytes(shape_, page_tokens);
  }
  double RowsPerRead() const override { return kRowsPerRead; }
  int64_t FreeBytes() const override;
  absl::Status Allocate(const StepLimits& limits) override;

  void BeginStep(const StepInput& step) override;
  void Embed(WeightId table) override;
  void QkvStore(int layer, WeightId norm, WeightId qkv) override;
  void Attend(int layer) override;
  void ProjectAdd(int layer, Sublayer sublayer, WeightId w) override;
  void GateUp(int layer, WeightId norm, WeightId gate_up) override;
  void Logits(WeightId norm, WeightId head) override;
  void EndStep() override;
  absl::Status WaitStep(std::vector<LogitsResult>* results) override {
    results_.Wait(results, error_);
    return error_.status();
  }
  void Run(uint64_t key, const std::function<void()>& forward) override;

 private:
  // A small step's launches do not depend on its counts: they cover the bucket's rows.
  bool small() const { return std::ssize(step_.tokens) <= kSkinnyRows; }
  int Bound(int rows) const { return small() ? bucket_ : rows; }
  static bool Skinny(int rows) { return rows <= kSkinnyRows; }
  void Upload(const StepInput& part);
  void Norm(const RowSource& source, int rows, WeightId norm);
  SkinnyArgs SkinnyOf(const RowSource& source, const DeviceWeight& weight, const void* x) const;
  void QkvByLibrary(int layer, const DeviceWeight& weight);
  void LogitsChunk(int first, int rows, const DeviceWeight& head);
  void Note(cudaError_t error, const char* what) { error_.Note(error, what); }

  const ModelShape shape_;
  const HeadShape heads_;
  Stream stream_;
  DecodeSplit split_;
  DeviceWeights weights_;
  StepLimits limits_;
  StepBuffers buffers_;
  SlotUploads slots_;
  StepUpload upload_;
  StepResults results_;
  std::optional<RowProducts> products_;
  StepGraphs graphs_;
  DeviceError error_;
  StepInput step_;
  const StepHeader* device_step_ = nullptr;
  int bucket_ = 0;
};

int64_t CudaBackend::FreeBytes() const {
  size_t free, total;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return 0;
  const StepLimits usual{
      .max_rows = kUsualRows, .max_logits_rows = kUsualRows, .max_slots = kUsualSlots};
  const int64_t buffers = StepBuffers::DeviceBytes(shape_, usual, split_) +
                          SlotUploads::DeviceBytes(shape_, kUsualSlots) +
                          RowProducts::DeviceBytes(shape_, kUsualRows) +
                          StepWriter(shape_, usual, split_).max_bytes();
  return std::max<int64_t>(0, static_cast<int64_t>(free) - buffers - kReservedBytes);
}

absl::Status CudaBackend::Allocate(const StepLimits& limits) {
  if (!std::has_single_bit(static_cast<uint32_t>(limits.page_tokens))) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "page_tokens %d: the CUDA backend serves powers of two", limits.page_tokens));
  }
  SKIPSTONE_RETURN_IF_ERROR(weights_.Finish(stream_.get()));
  limits_ = limits;
  SKIPSTONE_ASSIGN_OR_RETURN(buffers_, StepBuffers::Allocate(shape_, limits, split_));
  SKIPSTONE_ASSIGN_OR_RETURN(slots_, SlotUploads::Create(shape_, limits.max_slots));
  SKIPSTONE_ASSIGN_OR_RETURN(upload_, StepUpload::Create(StepWriter(shape_, limits, split_)));
  SKIPSTONE_ASSIGN_OR_RETURN(results_, StepResults::Create(limits, shape_.vocab));
  SKIPSTONE_ASSIGN_OR_RETURN(products_, RowProducts::Create(shape_, limits));
  device_step_ = upload_.device_step();
  return absl::OkStatus();
}

// Page copies and updates come with the step's rows.
void CudaBackend::Upload(const StepInput& part) {
  upload_.Upload(part, stream_.get(), error_);
  const int copies = static_cast<int>(part.page_copies.size());
  const int updates = static_cast<int>(part.page_updates.size());
  Note(LaunchPageCopy({.step = device_step_,
                       .pages = buffers_.pages.as<void>(),
                       .page_bytes = PageBytes(limits_.page_tokens)},
                      copies, stream_.get()),
       "page_copy");
  Note(LaunchPageUpdate({.step = device_step_,
                         .table = buffers_.page_table.as<int32_t>(),
                         .num_layers = shape_.num_layers,
                         .blocks = buffers_.pages_view.blocks},
                        updates, stream_.get()),
       "page_update");
}

void CudaBackend::BeginStep(const StepInput& step) {
  SKIPSTONE_CHECK(std::ssize(step.tokens) <= limits_.max_rows);
  SKIPSTONE_CHECK(std::ssize(step.logits) <= limits_.max_logits_rows);
  step_ = step;
  bucket_ = std::ssize(step.tokens) <= 8 ? 8 : kSkinnyRows;
  // A step that brings more than one upload holds: its first changes go ahead.
  StepInput rest = step;
  const auto most = static_cast<size_t>(upload_.max_deltas());
  while (rest.page_copies.size() > most || rest.page_updates.size() > most) {
    StepInput part;
    part.page_copies = rest.page_copies.first(std::min(most, rest.page_copies.size()));
    part.page_updates = rest.page_updates.first(std::min(most, rest.page_updates.size()));
    Upload(part);
    rest.page_copies = rest.page_copies.subspan(part.page_copies.size());
    rest.page_updates = rest.page_updates.subspan(part.page_updates.size());
  }
  Upload(rest);
  slots_.Start(step.slot_starts, stream_.get(), error_);
}

void CudaBackend::Embed(WeightId table) {
  const DeviceWeight& weight = weights_[table.index];
  Note(LaunchEmbed({.step = device_step_,
                    .slots = slots_.tables().slots,
                    .table = weight.memory.as<void>(),
                    .type = weights_.type(),
                    .vocab = weight.rows,
                    .hidden = weight.cols,
                    .residual = buffers_.residual.as<float>()},
                   Bound(static_cast<int>(step_.tokens.size())), stream_.get()),
       "embed");
}

void CudaBackend::Norm(const RowSource& source, int rows, WeightId norm) {
  Note(LaunchRmsNorm({.step = device_step_,
                      .source = source,
                      .residual = buffers_.residual.as<float>(),
                      .weight = weights_[norm.index].vector(),
                      .epsilon = shape_.norm_epsilon,
                      .hidden = shape_.hidden,
                      .type = weights_.type(),
                      .normed = buffers_.normed.as<void>()},
                     rows, stream_.get()),
       "rms_norm");
}

SkinnyArgs CudaBackend::SkinnyOf(const RowSource& source, const DeviceWeight& weight,
                                 const void* x) const {
  return {.step = device_step_,
          .source = source,
          .weight = weight.memory.as<void>(),
          .x = x,
          .type = weights_.type(),
          .outputs = weight.rows,
          .inputs = weight.cols};
}

void CudaBackend::QkvStore(int layer, WeightId norm, WeightId qkv) {
  const LayerRows& rows = step_.layers[layer];
  const RowSource attention = LayerRowsOf(ListKind::kAttention, layer);
  const DeviceWeight& weight = weights_[qkv.index];
  Norm(attention, Bound(rows.attention_rows.count), norm);
  const int bound = Bound(std::max(rows.query_rows.count, rows.kv_rows.count));
  if (!Skinny(bound)) return QkvByLibrary(layer, weight);
  Note(LaunchSkinnyQkv(SkinnyOf(attention, weight, buffers_.normed.as<void>()),
                       {.layer = layer,
                        .heads = heads_,
                        .pages = buffers_.pages_view,
                        .rope = buffers_.rope.as<float2>(),
                        .qkv = buffers_.qkv.as<void>()},
                       bound, stream_.get()),
       "skinny_qkv");
}

// Queries, and keys with values, each of their own rows: a row that only stores its key is not
// worth a query. Where the rows are the same it is one product.
void CudaBackend::QkvByLibrary(int layer, const DeviceWeight& weight) {
  const LayerRows& rows = step_.layers[layer];
  const auto run = [&](ListKind kind, const RowList& list, int first, int outputs) {
    if (list.empty()) return;
    products_->Run({.type = weights_.type(),
                    .source = LayerRowsOf(kind, layer),
                    .rows = list,
                    .weight = weight.memory.as<uint16_t>() + int64_t{first} * weight.cols,
                    .outputs = outputs,
                    .inputs = weight.cols,
                    .x = buffers_.normed.as<void>(),
                    .y = buffers_.qkv.as<uint16_t>() + first,
                    .y_stride = heads_.qkv_size()},
                   device_step_, stream_.get(), error_);
  };
  const RowList& q = rows.query_rows;
  const RowList& kv = rows.kv_rows;
  if (q.begin == kv.begin && q.count == kv.count && q.index == kv.index) {
    run(ListKind::kQuery, q, 0, weight.rows);
  } else {
    run(ListKind::kQuery, q, 0, shape_.q_size());
    run(ListKind::kKv, kv, shape_.q_size(), 2 * shape_.kv_size());
  }
  Note(LaunchRopeStore({.step = device_step_,
                        .layer = layer,
                        .heads = heads_,
                        .pages = buffers_.pages_view,
                        .rope = buffers_.rope.as<float2>(),
                        .type = weights_.type(),
                        .qkv = buffers_.qkv.as<void>()},
                       q.count, kv.count, stream_.get()),
       "rope_store");
}

void CudaBackend::Attend(int layer) {
  if (step_.layers[layer].query_rows.empty() && !small()) return;
  const StepHeader& header = upload_.host_header();
  const int items = small() ? split_.MaxItems(bucket_) : header.num_decode_items;
  Note(LaunchDecodeAttention({.step = device_step_,
                              .layer = layer,
                              .heads = heads_,
                              .pages = buffers_.pages_view,
                              .type = weights_.type(),
                              .qkv = buffers_.qkv.as<void>(),
                              .attended = buffers_.attended.as<void>(),
                              .partial_values = buffers_.partial_values.as<float>(),
                              .partial_states = buffers_.partial_states.as<float2>(),
                              .arrived = buffers_.arrived.as<int32_t>()},
                             items, stream_.get()),
       "decode_attention");
  Note(LaunchPrefillAttention({.step = device_step_,
                               .layer = layer,
                               .heads = heads_,
                               .pages = buffers_.pages_view,
                               .type = weights_.type(),
                               .qkv = buffers_.qkv.as<void>(),
                               .attended = buffers_.attended.as<void>()},
                              header.num_prefill_tiles, stream_.get()),
       "prefill_attention");
}

void CudaBackend::ProjectAdd(int layer, Sublayer sublayer, WeightId w) {
  const bool attention = sublayer == Sublayer::kAttention;
  const LayerRows& rows = step_.layers[layer];
  const RowList& list = attention ? rows.query_rows : rows.mlp_rows;
  const RowSource source = LayerRowsOf(attention ? ListKind::kQuery : ListKind::kMlp, layer);
  const DeviceWeight& weight = weights_[w.index];
  const void* x = (attention ? buffers_.attended : buffers_.gated).as<void>();
  const int bound = Bound(list.count);
  if (Skinny(bound)) {
    Note(LaunchSkinnyAdd(SkinnyOf(source, weight, x), buffers_.residual.as<float>(), bound,
                         stream_.get()),
         "skinny_add");
    return;
  }
  products_->Run({.type = weights_.type(),
                  .source = source,
                  .rows = list,
                  .weight = weight.memory.as<void>(),
                  .outputs = weight.rows,
                  .inputs = weight.cols,
                  .x = x,
                  .y = buffers_.residual.as<void>(),
                  .y_stride = shape_.hidden,
                  .add = true},
                 device_step_, stream_.get(), error_);
}

void CudaBackend::GateUp(int layer, WeightId norm, WeightId gate_up) {
  const RowList& list = step_.layers[layer].mlp_rows;
  const RowSource source = LayerRowsOf(ListKind::kMlp, layer);
  const DeviceWeight& weight = weights_[gate_up.index];
  const int bound = Bound(list.count);
  Norm(source, bound, norm);
  if (Skinny(bound)) {
    Note(LaunchSkinnySwiGlu(SkinnyOf(source, weight, buffers_.normed.as<void>()),
                            buffers_.gated.as<void>(), bound, stream_.get()),
         "skinny_swiglu");
    return;
  }
  products_->Run({.type = weights_.type(),
                  .source = source,
                  .rows = list,
                  .weight = weight.memory.as<void>(),
                  .outputs = weight.rows,
                  .inputs = weight.cols,
                  .x = buffers_.normed.as<void>(),
                  .y = buffers_.gate_up.as<void>(),
                  .y_stride = 2 * shape_.ffn},
                 device_step_, stream_.get(), error_);
  Note(LaunchSwiGlu({.step = device_step_,
                     .source = source,
                     .gate_up = buffers_.gate_up.as<void>(),
                     .type = weights_.type(),
                     .ffn = shape_.ffn,
                     .gated = buffers_.gated.as<void>()},
                    list.count, stream_.get()),
       "swiglu");
}

void CudaBackend::Logits(WeightId norm, WeightId head) {
  const int total = static_cast<int>(step_.logits.size());
  Norm({ListKind::kLogits, 0, 0, limits_.max_logits_rows}, Bound(total), norm);
  for (int first = 0; first < total; first += buffers_.logits_rows) {
    LogitsChunk(first, std::min(buffers_.logits_rows, total - first), weights_[head.index]);
  }
}

void CudaBackend::LogitsChunk(int first, int rows, const DeviceWeight& head) {
  const RowSource source = {ListKind::kLogits, 0, first, buffers_.logits_rows};
  float* logits = buffers_.logits.as<float>();
  const int bound = Bound(rows);
  if (Skinny(bound)) {
    Note(LaunchSkinnyLogits(SkinnyOf(source, head, buffers_.normed.as<void>()), logits, bound,
                            stream_.get()),
         "skinny_logits");
  } else {
    const LtShape shape{.type = weights_.type(),
                        .rows = rows,
                        .outputs = head.rows,
                        .inputs = head.cols,
                        .y_stride = head.rows,
                        .f32_output = true};
    products_->RunLogits(shape, head.memory.as<void>(),
                         buffers_.normed.as<uint16_t>() + int64_t{first} * shape_.hidden, logits,
                         stream_.get(), error_);
  }
  Note(LaunchSample({.step = device_step_,
                     .first = first,
                     .logits = logits,
                     .scratch = buffers_.adjusted.as<float>(),
                     .tables = slots_.tables(),
                     .results = results_.device_results(),
                     .top = results_.device_top()},
                    bound, stream_.get()),
       "sample");
}

void CudaBackend::EndStep() {
  results_.Enqueue(step_.logits, upload_.num_top(), stream_.get(), error_);
  step_ = {};
}

void CudaBackend::Run(uint64_t key, const std::function<void()>& forward) {
  if (!small() || upload_.host_header().num_prefill_tiles > 0) return forward();
  graphs_.Run(GraphKey(key, step_, bucket_), forward, stream_.get(), error_);
}

}  // namespace
}  // namespace cuda

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const ModelShape& shape) {
  SKIPSTONE_RETURN_IF_ERROR(cuda::CheckShape(shape));
  SKIPSTONE_ASSIGN_OR_RETURN(cuda::Device device, cuda::OpenDevice());
  return std::make_unique<cuda::CudaBackend>(shape, std::move(device));
}

}  // namespace skipstone
