#include "engine/cuda/step/step_buffers.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/status.h"
#include "engine/cuda/device/device_error.h"
#include "engine/cuda/step/step_writer.h"

namespace skipstone::cuda {
namespace {

int64_t Blocks(const ModelShape& shape, const StepLimits& limits) {
  return (shape.max_context + limits.page_tokens - 1) / limits.page_tokens;
}

// What is allocated, once for the sum and once for the memory itself.
struct Use {
  DeviceMemory StepBuffers::*buffer;
  int64_t bytes;
  const char* what;
};

std::vector<Use> UsesOf(const ModelShape& s, const StepLimits& limits, const DecodeSplit& split) {
  const int64_t rows = limits.max_rows;
  const int64_t qkv = s.q_size() + 2 * s.kv_size();
  const int logits_rows = StepWriter::LogitsRows(s, limits);
  const int64_t logits = int64_t{4} * logits_rows * s.vocab;
  const int64_t partials = int64_t{split.max_partials()} * s.heads;
  using B = StepBuffers;
  return {{&B::page_table, int64_t{4} * limits.max_slots * s.num_layers * Blocks(s, limits),
           "page tables"},
          {&B::rope, int64_t{s.max_context} * (s.head_dim / 2) * 8, "rotations"},
          {&B::residual, rows * s.hidden * 4, "the residual"},
          {&B::normed, rows * s.hidden * 2, "activations"},
          {&B::qkv, rows * qkv * 2, "activations"},
          {&B::attended, rows * s.q_size() * 2, "activations"},
          {&B::gate_up, rows * s.ffn * 4, "activations"},
          {&B::gated, std::max<int64_t>(rows, logits_rows) * std::max(s.ffn, s.hidden) * 2,
           "activations"},
          {&B::logits, logits, "logits"},
          {&B::adjusted, logits, "logits"},
          {&B::partial_values, partials * s.head_dim * 4, "attention"},
          {&B::partial_states, partials * 8, "attention"},
          {&B::arrived, partials * 4, "attention"}};
}

// Angle of position p and pair i: p / rope_theta^(2 i / head_dim), in f64, stored as f32.
absl::Status FillRope(const ModelShape& shape, const DeviceMemory& rope) {
  const int half = shape.head_dim / 2;
  std::vector<float2> table(static_cast<size_t>(shape.max_context) * half);
  for (int i = 0; i < half; ++i) {
    const double frequency = std::pow(shape.rope_theta, -2.0 * i / shape.head_dim);
    for (int p = 0; p < shape.max_context; ++p) {
      table[static_cast<size_t>(p) * half + i] = {static_cast<float>(std::cos(p * frequency)),
                                                  static_cast<float>(std::sin(p * frequency))};
    }
  }
  return ToStatus(cudaMemcpy(rope.as<void>(), table.data(), table.size() * sizeof(float2),
                             cudaMemcpyHostToDevice),
                  "copy of rotations");
}

}  // namespace

absl::StatusOr<StepBuffers> StepBuffers::Allocate(const ModelShape& shape, const StepLimits& limits,
                                                  const DecodeSplit& split) {
  StepBuffers made;
  for (const Use& use : UsesOf(shape, limits, split)) {
    SKIPSTONE_ASSIGN_OR_RETURN(made.*use.buffer, DeviceMemory::Allocate(use.bytes, use.what));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(
      made.pages,
      DeviceMemory::Allocate(limits.num_pages * PageBytes(shape, limits.page_tokens), "K/V pages"));
  SKIPSTONE_RETURN_IF_ERROR(FillRope(shape, made.rope));
  made.logits_rows = StepWriter::LogitsRows(shape, limits);
  made.pages_view = {.pages = made.pages.as<void>(),
                     .table = made.page_table.as<int32_t>(),
                     .num_layers = shape.num_layers,
                     .blocks = static_cast<int32_t>(Blocks(shape, limits)),
                     .page_shift = std::countr_zero(static_cast<uint32_t>(limits.page_tokens)),
                     .kv_heads = shape.kv_heads,
                     .head_dim = shape.head_dim};
  return made;
}

int64_t StepBuffers::DeviceBytes(const ModelShape& shape, const StepLimits& limits,
                                 const DecodeSplit& split) {
  int64_t bytes = 0;
  for (const Use& use : UsesOf(shape, limits, split)) bytes += use.bytes;
  return bytes;
}

}  // namespace skipstone::cuda
