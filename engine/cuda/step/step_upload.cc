#include "engine/cuda/step/step_upload.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace skipstone::cuda {

absl::StatusOr<StepUpload> StepUpload::Create(const StepWriter& writer) {
  StepUpload upload;
  upload.writer_ = writer;
  SKIPSTONE_ASSIGN_OR_RETURN(upload.device_, DeviceMemory::Allocate(writer.max_bytes(), "a step"));
  for (StagingMemory& half : upload.halves_) {
    SKIPSTONE_ASSIGN_OR_RETURN(half, StagingMemory::Allocate(writer.max_bytes(), "a step"));
  }
  return upload;
}

void StepUpload::Upload(const StepInput& step, cudaStream_t stream, DeviceError& error) {
  StagingMemory& half = halves_[next_];
  next_ = 1 - next_;
  error.Note(half.copied.Wait(), "copy of a step");
  const int64_t bytes = writer_.Write(step, half.memory.as<void>());
  current_ = half.memory.as<StepHeader>();
  error.Note(cudaMemcpyAsync(device_.as<void>(), half.memory.as<void>(), bytes,
                             cudaMemcpyHostToDevice, stream),
             "copy of a step");
  error.Note(half.copied.Record(stream), "copy of a step");
}

absl::StatusOr<ResultDownload> ResultDownload::Create(const StepLimits& limits, int vocab) {
  const int64_t rows = limits.max_logits_rows;
  const int64_t result_bytes = rows * static_cast<int64_t>(sizeof(DeviceLogitsResult));
  const int64_t top_bytes =
      rows * StepWriter::kMaxTop * static_cast<int64_t>(sizeof(DeviceTokenLogprob));
  ResultDownload made;
  made.vocab_ = vocab;
  SKIPSTONE_ASSIGN_OR_RETURN(made.results_, DeviceMemory::Allocate(result_bytes, "results"));
  SKIPSTONE_ASSIGN_OR_RETURN(made.top_, DeviceMemory::Allocate(top_bytes, "results"));
  for (Half& half : made.halves_) {
    SKIPSTONE_ASSIGN_OR_RETURN(half.results, PinnedMemory::Allocate(result_bytes, "results"));
    SKIPSTONE_ASSIGN_OR_RETURN(half.top, PinnedMemory::Allocate(top_bytes, "results"));
    SKIPSTONE_ASSIGN_OR_RETURN(half.copied, Event::Create());
  }
  return made;
}

void ResultDownload::Enqueue(std::span<const LogitsRow> rows, int32_t num_top, cudaStream_t stream,
                             DeviceError& error) {
  SKIPSTONE_CHECK(in_flight_.size() < halves_.size());
  Half& half = halves_[next_];
  const auto copy = [&](const PinnedMemory& to, const DeviceMemory& from, size_t bytes) {
    if (bytes == 0) return;
    error.Note(
        cudaMemcpyAsync(to.as<void>(), from.as<void>(), bytes, cudaMemcpyDeviceToHost, stream),
        "copy of results");
  };
  copy(half.results, results_, rows.size() * sizeof(DeviceLogitsResult));
  copy(half.top, top_, num_top * sizeof(DeviceTokenLogprob));
  error.Note(half.copied.Record(stream), "copy of results");
  in_flight_.push_back({{rows.begin(), rows.end()}, next_});
  next_ = 1 - next_;
}

void ResultDownload::Wait(std::vector<LogitsResult>* results, DeviceError& error) {
  SKIPSTONE_CHECK(!in_flight_.empty());
  const Step step = std::move(in_flight_.front());
  in_flight_.pop_front();
  const Half& half = halves_[step.half];
  error.Note(half.copied.Wait(), "a step");
  results->assign(step.rows.size(), {});
  if (!error.status().ok()) return;
  const auto* top = half.top.as<DeviceTokenLogprob>();
  for (size_t i = 0; i < step.rows.size(); ++i) {
    const LogitsRow& row = step.rows[i];
    const DeviceLogitsResult& from = half.results.as<DeviceLogitsResult>()[i];
    LogitsResult& to = (*results)[i];
    to.finite = from.finite != 0;
    if (row.sample) to.sampled = {from.sampled, from.sampled_logprob};
    if (row.target >= 0) to.target = {row.target, from.target_logprob};
    if (row.reference >= 0) to.kl = from.kl;
    for (int n = 0; n < row.top_n && n < vocab_; ++n, ++top) {
      to.top.push_back({top->id, top->logprob});
    }
  }
}

}  // namespace skipstone::cuda
