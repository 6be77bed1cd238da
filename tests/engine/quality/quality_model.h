// The demo model, opened for window passes. Text of the test is plain ids.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/hash.h"
#include "engine/make_backend.h"
#include "engine/quality/trials.h"
#include "engine/quality/window_pass.h"
#include "tests/support/paths.h"

namespace skipstone::quality {

struct QualityModel {
  explicit QualityModel(int threads = 2) {
    loaded =
        LoadModel(SourceDir() + "/models/demo", {.backend = "cpu", .threads = threads}).value();
    tensors = FindTensors(loaded.config, *loaded.file).value();
  }
  std::unique_ptr<WindowPass> Pass(const WindowPass::Limits& limits) {
    return WindowPass::Make({.shape = loaded.config.shape,
                             .tensors = tensors,
                             .weights = loaded.weights,
                             .maps = loaded.maps,
                             .backend = *loaded.backend},
                            limits)
        .value();
  }
  int layers() const { return loaded.config.shape.num_layers; }

  LoadedModel loaded;
  ModelTensors tensors;
};

inline Windows SomeWindows(int count, int tokens, int vocab, uint64_t seed = 1) {
  Windows windows(count);
  for (auto& window : windows) {
    for (int i = 0; i < tokens; ++i) {
      seed = Mix64(seed + 1);
      window.push_back(static_cast<int32_t>(3 + seed % static_cast<uint64_t>(vocab - 3)));
    }
  }
  return windows;
}

}  // namespace skipstone::quality
