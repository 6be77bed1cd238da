// The device memory that the stages of a step work in, and the K/V pages.
#pragma once

#include <cuda_runtime.h>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/cuda/device/device_memory.h"
#include "engine/cuda/kernels/kernel_inputs.h"
#include "engine/cuda/step/decode_split.h"

namespace skipstone::cuda {

// Activations are of the weights' 16-bit type, but for the residual and the logits.
struct StepBuffers {
  DeviceMemory pages;
  DeviceMemory page_table;  // int32 [slot][layer][block]
  DeviceMemory rope;        // float2 [position][head_dim / 2]
  DeviceMemory residual;    // f32 [row][hidden]
  DeviceMemory normed;      // [row][hidden]
  DeviceMemory qkv;         // [row][q, k, v]
  DeviceMemory attended;    // [row][q_size]
  DeviceMemory gate_up;     // [row][gate ffn, up ffn]
  // [row][ffn]. What a sublayer that is left out does not need: rows of a map between its products,
  // [row][up to hidden], and of the head's input where they are no range, [logits_rows][hidden].
  DeviceMemory gated;
  DeviceMemory logits;          // f32 [logits_rows][vocab]
  DeviceMemory adjusted;        // f32 [logits_rows][vocab]
  DeviceMemory partial_values;  // f32 [partial][head][head_dim]
  DeviceMemory partial_states;  // float2 [partial][head]
  DeviceMemory arrived;         // int32 [partial][head]
  PagesView pages_view = {};
  int logits_rows = 0;  // that exist at a time

  static absl::StatusOr<StepBuffers> Allocate(const ModelShape& shape, const StepLimits& limits,
                                              const DecodeSplit& split);
  // Of everything but the pages.
  static int64_t DeviceBytes(const ModelShape& shape, const StepLimits& limits,
                             const DecodeSplit& split);
  static int64_t PageBytes(const ModelShape& shape, int page_tokens) {
    return int64_t{2} * shape.kv_size() * page_tokens * 2;
  }
};

}  // namespace skipstone::cuda
