// The step of a window pass: the rows of each variant, one after the other, and the rows of every
// layer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/quality/window_pass.h"
#include "engine/step/step_input.h"

namespace skipstone::quality {

// Reused from step to step. Not thread-safe.
class WindowStep {
 public:
  WindowStep(int num_layers, const std::vector<LayerMaps>& maps, int page_tokens)
      : num_layers_(num_layers), maps_(maps), page_tokens_(page_tokens) {}

  // Both stay as they are until the step is over.
  void Build(std::span<const int32_t> window, std::span<const Variant> variants);

  // Valid until the next Build.
  const StepInput& input() const { return input_; }
  int rows() const { return rows_; }  // of one variant
  int FirstRow(int variant) const { return place_[variant] * rows_; }
  bool ToHead(int variant) const { return variants_[variant].end < 0; }
  // Where variants stop: through the head, all sublayers.
  Point EndOf(int variant) const {
    return ToHead(variant) ? 2 * num_layers_ : variants_[variant].end;
  }

 private:
  void Place();
  void FillRows(std::span<const int32_t> window);
  void FillWindows();
  void FillPages(std::span<const int32_t> window);
  LayerRows ListsOf(int layer);
  bool Runs(int variant, Point point) const {
    return variants_[variant].begin <= point && point < EndOf(variant);
  }
  // The rows of variants, in row order, for which takes(variant) holds.
  template <class Takes>
  RowList MakeList(Takes takes);

  const int num_layers_;
  const std::vector<LayerMaps>& maps_;
  const int page_tokens_;
  int rows_ = 0;
  std::span<const Variant> variants_;
  std::vector<int> place_;  // by variant: those that reach the head go first
  std::vector<int> order_;  // variants by place
  std::vector<int32_t> tokens_, positions_, slots_, sets_, windows_, index_;
  std::vector<LayerRows> layers_;
  std::vector<RowList> map_lists_;
  std::vector<LogitsRow> logits_;
  std::vector<RowRun> runs_;
  std::vector<PageUpdate> pages_;
  StepInput input_;
};

}  // namespace skipstone::quality
