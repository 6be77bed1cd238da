// The class behind MakeCudaBackend.
#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "base/status.h"
#include "engine/cuda/cuda_backend.h"
#include "engine/cuda/device/cuda_probe.h"
#include "engine/cuda/device/device.h"
#include "engine/cuda/kernels/skinny_matmul.h"
#include "engine/cuda/products/device_weights.h"
#include "engine/cuda/products/map_adder.h"
#include "engine/cuda/products/row_products.h"
#include "engine/cuda/step/slot_uploads.h"
#include "engine/cuda/step/step_buffers.h"
#include "engine/cuda/step/step_graphs.h"
#include "engine/cuda/step/step_upload.h"

namespace skipstone::cuda {

constexpr int kMostLoaders = 8;  // threads that copy weights; more find no more bandwidth

// Of SamplingParams: what SlotUploads brings to the device.
constexpr std::string_view kServed[] = {
    "temperature",       "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "seed"};

class CudaBackend final : public Backend {
 public:
  CudaBackend(const ModelShape& shape, Device device, const CudaOptions& options)
      : shape_(shape),
        options_(options),
        heads_{shape.heads, shape.kv_heads, shape.head_dim},
        stream_(std::move(device.stream)),
        weights_(std::min(options.threads, kMostLoaders), options.weight_type),
        map_adder_(shape_, weights_),
        probe_(stream_.get(), weights_, options.tuning_cache),
        split_(DecodeSplit::For(shape, device.multiprocessors)) {}

  std::string name() const override { return "cuda"; }
  bool asynchronous() const override { return true; }
  bool Serves(std::string_view field) const override {
    return absl::c_linear_search(kServed, field);
  }
  bool MakesRandomWeights() const override { return true; }
  absl::StatusOr<WeightId> AddWeights(std::span<const Tensor> group) override {
    SKIPSTONE_ASSIGN_OR_RETURN(const int index, weights_.Add(group, stream_.get()));
    return WeightId{index};
  }
  int64_t PageBytes(int page_tokens) const override {
    return StepBuffers::PageBytes(shape_, page_tokens);
  }
  double RowsPerRead() const override;
  int64_t FreeBytes() const override;
  absl::Status Allocate(const StepLimits& limits) override;
  BackendUsage Usage() const override;
  DeviceProbe* probe() override { return &probe_; }

  void BeginStep(const StepInput& step) override;
  void Embed(WeightId table) override;
  void QkvStore(int layer, WeightId norm, WeightId qkv) override;
  void Attend(int layer) override;
  void ProjectAdd(int layer, Sublayer sublayer, WeightId w) override;
  void GateUp(int layer, WeightId norm, WeightId gate_up) override;
  void AddMaps(int layer, Sublayer sublayer, WeightId norm,
               std::span<const MapWeights> maps) override;
  void Logits(WeightId norm, WeightId head) override;
  void ReadResidual(int first, int count, float* out) override;
  void WriteResidual(int first, int count, const float* in) override;
  void EndStep() override;
  absl::Status WaitStep(std::vector<LogitsResult>* results) override {
    results_.Wait(results, error_);
    return error_.status();
  }
  void Run(const std::function<void()>& forward) override;
  void EndWarmUp() override;

 private:
  // A small step's launches do not depend on its counts: they cover the bucket's rows.
  bool small() const { return std::ssize(step_.tokens) <= kSkinnyRows; }
  int Bound(int rows) const { return small() ? bucket_ : rows; }
  static bool Skinny(int rows) { return rows <= kSkinnyRows; }
  int64_t BufferBytes(const StepLimits& limits) const;
  void Upload(const StepInput& part);
  void Norm(const RowSource& source, int rows, WeightId norm);
  SkinnyArgs SkinnyOf(const RowSource& source, const DeviceWeight& weight, const void* x) const;
  RowProduct ProductOf(const RowSource& source, const RowList& rows,
                       const DeviceWeight& weight) const;
  void QkvByLibrary(int layer, const DeviceWeight& weight);
  void ComparedLogits(std::span<const int32_t> blocks, const DeviceWeight& head);
  void LogitsChunk(const RowSource& source, int bound, const void* x, const DeviceWeight& head);
  float* ResidualRow(int row) const {
    return buffers_.residual.as<float>() + int64_t{row} * shape_.hidden;
  }
  int64_t ResidualBytes(int rows) const { return int64_t{rows} * shape_.hidden * 4; }
  void CopyNow(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind);
  void Note(cudaError_t error, const char* what) { error_.Note(error, what); }

  const ModelShape shape_;
  const CudaOptions options_;
  const HeadShape heads_;
  Stream stream_;
  DeviceWeights weights_;
  MapAdder map_adder_;
  CudaProbe probe_;
  DecodeSplit split_;
  StepLimits limits_;
  StepBuffers buffers_;
  SlotUploads slots_;
  StepUpload upload_;
  ResultDownload results_;
  std::optional<RowProducts> products_;
  StepGraphs graphs_;
  DeviceError error_;
  StepInput step_;
  const StepHeader* device_step_ = nullptr;
  int bucket_ = 0;
  bool warmed_up_ = false;
  bool recording_any_ = false;  // a step for all sets
};

}  // namespace skipstone::cuda
