// Packs a step for the device: StepInput in, a StepHeader with its arrays out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/cuda/kernels/device_step.h"
#include "engine/cuda/step/decode_split.h"

namespace skipstone::cuda {

// Step thread only. Writes plain memory; knows no device.
class StepWriter {
 public:
  StepWriter() = default;
  StepWriter(const ModelShape& shape, const StepLimits& limits, const DecodeSplit& split);

  // What any step within the limits takes, with up to max_deltas() page updates.
  int64_t max_bytes() const { return max_words_ * static_cast<int64_t>(sizeof(int32_t)); }
  // Alternatives of one row's log-probabilities; the API allows 20.
  static constexpr int kMaxTop = 64;
  int64_t max_deltas() const { return max_deltas_; }

  // Returns the bytes written to `to`, of which max_bytes() may be used.
  int64_t Write(const StepInput& step, void* to);
  // Logits of so many rows exist at a time: enough that a pass over the head's weights is paid for,
  // within 64 MiB; two at least, a row and what it is compared with.
  static int LogitsRows(const ModelShape& shape, const StepLimits& limits);
  // Of the step written last: alternatives of all rows.
  int32_t num_top() const { return num_top_; }
  // And the sizes of the blocks of compared_rows; empty if no row has a reference.
  std::span<const int32_t> compared_blocks() const { return compared_blocks_; }

 private:
  template <class T>
  int32_t Append(std::span<const T> values);
  int32_t AppendLists(std::span<const LayerRows> layers);
  DeviceRowList AppendList(const RowList& list);
  int32_t AppendMapLists(std::span<const LayerRows> layers);
  int32_t AppendLogits(std::span<const LogitsRow> rows);
  void AppendCompared(std::span<const LogitsRow> rows, StepHeader* header);
  void SortRuns(const StepInput& step);
  void WriteDecodePlans(const StepInput& step);
  DecodePlan AppendDecodePlan(const StepInput& step, int layer);

  DecodeSplit split_;
  int num_layers_ = 0;
  int vocab_ = 0;
  int logits_rows_ = 0;
  int64_t max_words_ = 0;
  int64_t max_deltas_ = 0;
  int32_t* words_ = nullptr;  // of the step being written
  int32_t used_ = 0;
  int32_t num_top_ = 0;
  const int32_t* last_index_ = nullptr;
  int32_t last_offset_ = 0;
  std::vector<int32_t> alone_;  // rows that are a run of their own
  std::vector<DecodeSplit::Row> decode_rows_;
  std::vector<DecodeItem> items_;
  std::vector<PrefillTile> tiles_;
  std::vector<int32_t> compared_blocks_;
};

}  // namespace skipstone::cuda
