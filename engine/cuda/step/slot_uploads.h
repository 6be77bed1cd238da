// The sampling state of the slots on the device, and how a sequence that takes a slot gets there.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/cuda/device/device_error.h"
#include "engine/cuda/device/device_memory.h"
#include "engine/cuda/device/stream.h"
#include "engine/cuda/kernels/slot_start.h"

namespace skipstone::cuda {

// Step thread only.
class SlotUploads {
 public:
  static absl::StatusOr<SlotUploads> Create(const ModelShape& shape, int max_slots);
  static int64_t DeviceBytes(const ModelShape& shape, int max_slots);

  const SlotTables& tables() const { return tables_; }
  // Prompt, output, bias and suppressed ids go to the device only where a parameter needs them.
  // A step's starts are one copy unless they are very long.
  void Start(std::span<const SlotStart> starts, cudaStream_t stream, DeviceError& error);

 private:
  // Starts at the front of `starts` that fit into one upload; at least one does.
  size_t CountThatFit(std::span<const SlotStart> starts) const;
  void Upload(std::span<const SlotStart> starts, cudaStream_t stream, DeviceError& error);

  int64_t capacity_words_ = 0;
  DeviceMemory state_;
  DeviceMemory bias_;
  DeviceMemory tokens_;
  DeviceMemory device_;
  std::array<StagingMemory, 2> halves_;
  int next_ = 0;
  SlotTables tables_ = {};
};

}  // namespace skipstone::cuda
