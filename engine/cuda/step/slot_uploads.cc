#include "engine/cuda/step/slot_uploads.h"

#include <cstring>

#include "base/check.h"
#include "base/status.h"

namespace skipstone::cuda {
namespace {

constexpr int64_t kRecordWords = sizeof(SlotRecord) / sizeof(int32_t);

// The longest single start: bias and suppression of every id, prompt and output.
int64_t CapacityWords(const ModelShape& shape) {
  return kRecordWords + int64_t{3} * shape.vocab + shape.max_context + 1;
}

const SamplingParams& ParamsOf(const SlotStart& start) {
  static const SamplingParams defaults;
  return start.sampling != nullptr ? *start.sampling : defaults;
}

bool Suppresses(const SamplingParams& params) {
  return params.min_tokens > 0 && !params.suppressed_ids.empty();
}

int64_t WordsOf(const SlotStart& start) {
  const SamplingParams& params = ParamsOf(start);
  int64_t words = kRecordWords + 2 * std::ssize(params.logit_bias);
  if (Suppresses(params)) words += std::ssize(params.suppressed_ids);
  if (params.HasPenalties()) words += std::ssize(start.prompt) + std::ssize(start.output);
  return words;
}

SlotSampling StateOf(const SlotStart& start) {
  const SamplingParams& params = ParamsOf(start);
  return {.seed = params.seed,
          .temperature = params.temperature,
          .top_p = params.top_p,
          .min_p = params.min_p,
          .repetition_penalty = params.repetition_penalty,
          .presence_penalty = params.presence_penalty,
          .frequency_penalty = params.frequency_penalty,
          .top_k = params.top_k,
          .min_tokens = params.min_tokens,
          .output_index = static_cast<uint32_t>(start.output_index),
          .last_token = start.output.empty() ? -1 : start.output.back(),
          .output_tokens = static_cast<int32_t>(start.output.size()),
          .has_bias = !params.logit_bias.empty(),
          .has_penalties = params.HasPenalties(),
          .has_suppressed = Suppresses(params)};
}

// Appends lists behind the records.
class Packer {
 public:
  Packer(int32_t* words, int64_t used) : words_(words), used_(static_cast<int32_t>(used)) {}

  WordSpan Append(std::span<const int32_t> ids) {
    const WordSpan span = {used_, static_cast<int32_t>(ids.size())};
    if (!ids.empty()) std::memcpy(words_ + used_, ids.data(), ids.size_bytes());
    used_ += span.count;
    return span;
  }

  void AppendBias(const SamplingParams& params, SlotRecord& record) {
    const auto count = static_cast<int32_t>(params.logit_bias.size());
    record.bias_ids = {used_, count};
    record.bias_values = {used_ + count, count};
    for (const auto& [id, bias] : params.logit_bias) {
      words_[used_] = id;
      std::memcpy(words_ + used_ + count, &bias, sizeof(bias));
      ++used_;
    }
    used_ += count;
  }

  int64_t bytes() const { return int64_t{used_} * static_cast<int64_t>(sizeof(int32_t)); }

 private:
  int32_t* words_;
  int32_t used_;
};

}  // namespace

int64_t SlotUploads::DeviceBytes(const ModelShape& shape, int max_slots) {
  return max_slots * (int64_t{2} * shape.vocab * 4 + static_cast<int64_t>(sizeof(SlotSampling))) +
         CapacityWords(shape) * 4;
}

absl::StatusOr<SlotUploads> SlotUploads::Create(const ModelShape& shape, int max_slots) {
  static_assert(sizeof(SlotRecord) % sizeof(int32_t) == 0);
  SlotUploads made;
  made.capacity_words_ = CapacityWords(shape);
  const int64_t table_bytes = int64_t{max_slots} * shape.vocab * 4;
  const int64_t upload_bytes = made.capacity_words_ * 4;
  SKIPSTONE_ASSIGN_OR_RETURN(
      made.state_, DeviceMemory::Allocate(max_slots * int64_t{sizeof(SlotSampling)}, "slots"));
  SKIPSTONE_ASSIGN_OR_RETURN(made.bias_, DeviceMemory::Allocate(table_bytes, "logit biases"));
  SKIPSTONE_ASSIGN_OR_RETURN(made.tokens_, DeviceMemory::Allocate(table_bytes, "token counts"));
  SKIPSTONE_ASSIGN_OR_RETURN(made.device_, DeviceMemory::Allocate(upload_bytes, "slot starts"));
  for (StagingMemory& half : made.halves_) {
    SKIPSTONE_ASSIGN_OR_RETURN(half, StagingMemory::Allocate(upload_bytes, "slot starts"));
  }
  made.tables_ = {.slots = made.state_.as<SlotSampling>(),
                  .bias = made.bias_.as<float>(),
                  .tokens = made.tokens_.as<uint32_t>(),
                  .vocab = shape.vocab};
  return made;
}

size_t SlotUploads::CountThatFit(std::span<const SlotStart> starts) const {
  int64_t words = 0;
  for (size_t i = 0; i < starts.size(); ++i) {
    words += WordsOf(starts[i]);
    if (words > capacity_words_) {
      SKIPSTONE_CHECK(i > 0);
      return i;
    }
  }
  return starts.size();
}

void SlotUploads::Start(std::span<const SlotStart> starts, cudaStream_t stream,
                        DeviceError& error) {
  while (!starts.empty()) {
    const size_t count = CountThatFit(starts);
    Upload(starts.first(count), stream, error);
    starts = starts.subspan(count);
  }
}

void SlotUploads::Upload(std::span<const SlotStart> starts, cudaStream_t stream,
                         DeviceError& error) {
  StagingMemory& half = halves_[next_];
  next_ = 1 - next_;
  error.Note(half.copied.Wait(), "slot starts");
  Packer packer(half.memory.as<int32_t>(), std::ssize(starts) * kRecordWords);
  for (size_t i = 0; i < starts.size(); ++i) {
    const SlotStart& start = starts[i];
    const SamplingParams& params = ParamsOf(start);
    SlotRecord record = {.state = StateOf(start), .slot = start.slot};
    packer.AppendBias(params, record);
    if (params.HasPenalties()) {
      record.prompt = packer.Append(start.prompt);
      record.output = packer.Append(start.output);
    }
    if (Suppresses(params)) record.suppressed = packer.Append(params.suppressed_ids);
    std::memcpy(half.memory.as<SlotRecord>() + i, &record, sizeof(record));
  }
  error.Note(cudaMemcpyAsync(device_.as<void>(), half.memory.as<void>(), packer.bytes(),
                             cudaMemcpyHostToDevice, stream),
             "slot starts");
  error.Note(half.copied.Record(stream), "slot starts");
  error.Note(LaunchSlotStart({.upload = device_.as<void>(), .tables = tables_},
                             static_cast<int>(starts.size()), stream),
             "slot_start");
}

}  // namespace skipstone::cuda
