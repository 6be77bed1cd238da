#include "engine/cuda/cuda_backend.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "engine/cuda/cuda_backend_impl.h"
#include "engine/cuda/kernels/page_update.h"

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
  while (rest.page_updates.size() > most) {
    Upload({.page_updates = rest.page_updates.first(most)});
    rest.page_updates = rest.page_updates.subspan(most);
  }
  Upload(rest);
  slots_.Start(step.slot_starts, stream_.get(), error_);
}

void CudaBackend::EndStep() {
  results_.Enqueue(step_.logits, upload_.num_top(), stream_.get(), error_);
  step_ = {};
}

void CudaBackend::Run(const std::function<void()>& forward) {
  // One launch of the sampler, and none whose size depends on the step.
  const auto logits = std::ssize(step_.logits);
  const bool alike = small() && logits > 0 && logits <= buffers_.logits_rows &&
                     upload_.host_header().num_prefill_tiles == 0;
  if (!alike) return forward();
  const StepKind kind = StepKind::Of(step_, bucket_);
  if (graphs_.Launch(kind, stream_.get(), error_)) return;
  if (warmed_up_) {
    if (!graphs_.Launch(StepKind::Any(bucket_), stream_.get(), error_)) forward();
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
