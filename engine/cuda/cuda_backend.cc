#include "engine/cuda/cuda_backend.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "engine/cuda/cuda_backend_impl.h"
#include "engine/cuda/kernels/stage_kernels.h"

namespace skipstone {
namespace cuda {
namespace {

constexpr int64_t kReservedBytes = int64_t{512} << 20;  // library, recorded steps, driver
constexpr int kUsualRows = 2048, kUsualSlots = 256;     // FreeBytes leaves room for such a step
constexpr double kRowsPerRead = 230;  // an H100's 700 TFLOP/s over 3 TB/s; not measured

}  // namespace

double CudaBackend::RowsPerRead() const { return kRowsPerRead; }

int64_t CudaBackend::BufferBytes(const StepLimits& limits) const {
  return StepBuffers::DeviceBytes(shape_, limits, split_) +
         SlotUploads::DeviceBytes(shape_, limits.max_slots) +
         RowProducts::DeviceBytes(shape_, limits.max_rows) +
         StepWriter(shape_, limits, split_).max_bytes();
}

int64_t CudaBackend::FreeBytes() const {
  size_t free, total;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return 0;
  const StepLimits usual{
      .max_rows = kUsualRows, .max_logits_rows = kUsualRows, .max_slots = kUsualSlots};
  return std::max<int64_t>(0, static_cast<int64_t>(free) - BufferBytes(usual) - kReservedBytes);
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
  SKIPSTONE_ASSIGN_OR_RETURN(results_, ResultDownload::Create(limits, shape_.vocab));
  SKIPSTONE_ASSIGN_OR_RETURN(products_, RowProducts::Create(shape_, limits, options_.tuning_cache));
  device_step_ = upload_.device_step();
  return absl::OkStatus();
}

BackendUsage CudaBackend::Usage() const {
  return {.weight_bytes = weights_.bytes(),
          .page_bytes = buffers_.pages.bytes(),
          .buffer_bytes = BufferBytes(limits_),
          .recorded_steps = graphs_.size()};
}

// Page updates come with the step's rows.
void CudaBackend::Upload(const StepInput& part) {
  upload_.Upload(part, stream_.get(), error_);
  const int updates = static_cast<int>(part.page_updates.size());
  Note(LaunchPageUpdate(device_step_, buffers_.pages_view, updates, stream_.get()), "page_update");
}

void CudaBackend::BeginStep(const StepInput& step) {
  SKIPSTONE_CHECK(std::ssize(step.tokens) <= limits_.max_rows);
  SKIPSTONE_CHECK(std::ssize(step.logits) <= limits_.max_logits_rows);
  step_ = step;
  bucket_ = std::ssize(step.tokens) <= 8 ? 8 : kSkinnyRows;
  // A step that brings more than one upload holds: its first changes go ahead.
  StepInput rest = step;
  const auto most = static_cast<size_t>(upload_.max_deltas());
  while (rest.page_updates.size() > most) {
    Upload({.page_updates = rest.page_updates.first(most)});
    rest.page_updates = rest.page_updates.subspan(most);
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
          .inputs = weight.cols,
          .x_stride = weight.cols,
          .may_be_empty = recording_any_};
}

void CudaBackend::QkvStore(int layer, WeightId norm, WeightId qkv) {
  const LayerRows& rows = step_.layers[layer];
  const RowSource source = LayerRowsOf(ListKind::kKv, layer);
  const DeviceWeight& weight = weights_[qkv.index];
  const int bound = Bound(rows.kv_rows.count);
  Norm(source, bound, norm);
  if (!Skinny(bound)) return QkvByLibrary(layer, weight);
  Note(LaunchSkinnyQkv(SkinnyOf(source, weight, buffers_.normed.as<void>()),
                       {.layer = layer,
                        .heads = heads_,
                        .pages = buffers_.pages_view,
                        .rope = buffers_.rope.as<float2>(),
                        .qkv = buffers_.qkv.as<void>()},
                       bound, stream_.get()),
       "skinny_qkv");
}

// All rows of the weight; x and y are the caller's.
RowProduct CudaBackend::ProductOf(const RowSource& source, const RowList& rows,
                                  const DeviceWeight& weight) const {
  return {.type = weights_.type(),
          .source = source,
          .rows = rows,
          .weight = weight.memory.as<void>(),
          .outputs = weight.rows,
          .inputs = weight.cols};
}

// Queries, and keys with values, each of their own rows: a row that only stores its key is not
// worth a query. Where the rows are the same it is one product.
void CudaBackend::QkvByLibrary(int layer, const DeviceWeight& weight) {
  const LayerRows& rows = step_.layers[layer];
  const auto run = [&](ListKind kind, const RowList& list, int first, int outputs) {
    if (list.empty()) return;
    RowProduct product = ProductOf(LayerRowsOf(kind, layer), list, weight);
    product.weight = weight.memory.as<uint16_t>() + int64_t{first} * weight.cols;
    product.outputs = outputs;
    product.x = buffers_.normed.as<void>();
    product.y = buffers_.qkv.as<uint16_t>() + first;
    product.y_stride = heads_.qkv_size();
    products_->Run(product, device_step_, stream_.get(), error_);
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
  const int items = small() ? split_.MaxItems(bucket_) : header.PlanOf(layer).count;
  const AttentionArgs args{.step = device_step_,
                           .layer = layer,
                           .heads = heads_,
                           .pages = buffers_.pages_view,
                           .type = weights_.type(),
                           .qkv = buffers_.qkv.as<void>(),
                           .attended = buffers_.attended.as<void>(),
                           .partial_values = buffers_.partial_values.as<float>(),
                           .partial_states = buffers_.partial_states.as<float2>(),
                           .arrived = buffers_.arrived.as<int32_t>()};
  Note(LaunchDecodeAttention(args, items, stream_.get()), "decode_attention");
  Note(LaunchPrefillAttention(args, header.num_prefill_tiles, stream_.get()), "prefill_attention");
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
  RowProduct product = ProductOf(source, list, weight);
  product.x = x;
  product.y = buffers_.residual.as<void>();
  product.y_stride = shape_.hidden;
  product.add = true;
  products_->Run(product, device_step_, stream_.get(), error_);
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
  RowProduct product = ProductOf(source, list, weight);
  product.x = buffers_.normed.as<void>();
  product.y = buffers_.gate_up.as<void>();
  product.y_stride = 2 * shape_.ffn;
  products_->Run(product, device_step_, stream_.get(), error_);
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
  const auto blocks = upload_.compared_blocks();
  if (!blocks.empty()) return ComparedLogits(blocks, weights_[head.index]);
  for (int first = 0; first < total; first += buffers_.logits_rows) {
    const RowSource source = {ListKind::kLogits, 0, first, buffers_.logits_rows};
    LogitsChunk(source, Bound(std::min(buffers_.logits_rows, total - first)),
                buffers_.normed.as<uint16_t>() + int64_t{first} * shape_.hidden,
                weights_[head.index]);
  }
}

// Blocks of rows that are no range. Such a step is not recorded: its launches are its own.
void CudaBackend::ComparedLogits(std::span<const int32_t> blocks, const DeviceWeight& head) {
  int first = 0;
  for (const int rows : blocks) {
    const RowSource source = {ListKind::kCompared, 0, first, rows};
    Note(LaunchGatherRows({.step = device_step_,
                           .source = source,
                           .from = buffers_.normed.as<void>(),
                           .from_stride = shape_.hidden,
                           .to = buffers_.gated.as<void>(),
                           .to_stride = shape_.hidden,
                           .width = shape_.hidden},
                          rows, stream_.get()),
         "gather_rows");
    LogitsChunk(source, rows, buffers_.gated.as<void>(), head);
    Note(LaunchDivergence({.step = device_step_,
                           .first = first,
                           .logits = buffers_.logits.as<float>(),
                           .vocab = shape_.vocab,
                           .results = results_.device_results()},
                          rows, stream_.get()),
         "divergence");
    first += rows;
  }
}

// `bound` rows of the source, of which the library takes `x`, rows one after the other.
void CudaBackend::LogitsChunk(const RowSource& source, int bound, const void* x,
                              const DeviceWeight& head) {
  float* logits = buffers_.logits.as<float>();
  if (Skinny(bound)) {
    Note(LaunchSkinnyLogits(SkinnyOf(source, head, buffers_.normed.as<void>()), logits, bound,
                            stream_.get()),
         "skinny_logits");
  } else {
    const LtShape shape{.type = weights_.type(),
                        .rows = bound,
                        .outputs = head.rows,
                        .inputs = head.cols,
                        .y_stride = head.rows,
                        .f32_output = true};
    products_->RunLogits(shape, head.memory.as<void>(), x, logits, stream_.get(), error_);
  }
  Note(LaunchSample({.step = device_step_,
                     .source = source,
                     .logits = logits,
                     .scratch = buffers_.adjusted.as<float>(),
                     .tables = slots_.tables(),
                     .results = results_.device_results(),
                     .top = results_.device_top()},
                    bound, stream_.get()),
       "sample");
}

void CudaBackend::AddMaps(int layer, Sublayer sublayer, WeightId norm,
                          std::span<const MapWeights> maps) {
  const LayerRows& rows = step_.layers[layer];
  const bool attention = sublayer == Sublayer::kAttention;
  map_adder_.Run({.step = device_step_,
                  .kind = attention ? ListKind::kAttentionMap : ListKind::kMlpMap,
                  .layer = layer,
                  .lists = attention ? rows.attention_maps : rows.mlp_maps,
                  .maps = maps,
                  .norm = norm.index,
                  .bound = Bound(0)},
                 {.residual = buffers_.residual.as<float>(),
                  .normed = buffers_.normed.as<void>(),
                  .inner = buffers_.gated.as<void>()},
                 *products_, stream_.get(), error_);
}

void CudaBackend::ReadResidual(int first, int count, float* out) {
  SKIPSTONE_CHECK(first >= 0 && count >= 0 && first + count <= limits_.max_rows);
  CopyNow(out, ResidualRow(first), ResidualBytes(count), cudaMemcpyDeviceToHost);
}

void CudaBackend::WriteResidual(int first, int count, const float* in) {
  SKIPSTONE_CHECK(first >= 0 && count >= 0 && first + count <= limits_.max_rows);
  CopyNow(ResidualRow(first), in, ResidualBytes(count), cudaMemcpyHostToDevice);
}

void CudaBackend::CopyNow(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
  Note(cudaMemcpyAsync(to, from, bytes, kind, stream_.get()), "copy of the residual");
  Note(cudaStreamSynchronize(stream_.get()), "copy of the residual");
}

void CudaBackend::EndStep() {
  results_.Enqueue(step_.logits, upload_.num_top(), stream_.get(), error_);
  step_ = {};
}

void CudaBackend::Run(const std::function<void()>& forward) {
  // One launch of the sampler, and none whose size depends on the step.
  const auto logits = std::ssize(step_.logits);
  const bool alike = small() && logits > 0 && logits <= buffers_.logits_rows &&
                     upload_.host_header().num_prefill_tiles == 0 &&
                     upload_.compared_blocks().empty();
  if (!alike) return forward();
  const StepKind kind = StepKind::Of(step_, bucket_);
  if (graphs_.Launch(kind, stream_.get(), error_)) return;
  if (warmed_up_) {
    if (kind.maps || !graphs_.Launch(StepKind::Any(bucket_), stream_.get(), error_)) forward();
    return;
  }
  // The step itself runs first, as kernels are loaded when they are first launched.
  forward();
  graphs_.Record(kind, forward, stream_.get(), error_);
  if (kind != StepKind::All(bucket_)) return;
  recording_any_ = true;
  graphs_.Record(StepKind::Any(bucket_), forward, stream_.get(), error_);
  recording_any_ = false;
}

void CudaBackend::EndWarmUp() {
  warmed_up_ = true;
  products_->Seal();
}

}  // namespace cuda

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const ModelShape& shape,
                                                         const CudaOptions& options) {
  SKIPSTONE_RETURN_IF_ERROR(cuda::CheckShape(shape));
  SKIPSTONE_ASSIGN_OR_RETURN(cuda::Device device, cuda::OpenDevice());
  return std::make_unique<cuda::CudaBackend>(shape, std::move(device), options);
}

}  // namespace skipstone
