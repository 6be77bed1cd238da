#include "tools/calibrate/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/levels/compensation.h"
#include "engine/model/synthetic.h"

namespace skipstone::calibrate {
namespace {

// More share no more work: they only take memory.
constexpr int kMostVariants = 16;

}  // namespace

absl::StatusOr<std::unique_ptr<OpenedModel>> OpenForCalibration(const CalibrateOptions& options,
                                                                const LevelsFile* levels) {
  if (options.model.empty()) return absl::InvalidArgumentError("--model: none is given");
  if (IsSyntheticModel(options.model)) {
    return absl::InvalidArgumentError("--model: a synthetic model knows no text to measure on");
  }
  auto opened = std::make_unique<OpenedModel>();
  SKIPSTONE_ASSIGN_OR_RETURN(
      opened->loaded,
      LoadModel(options.model, {.backend = options.backend, .threads = options.threads}));
  LoadedModel& loaded = opened->loaded;
  SKIPSTONE_ASSIGN_OR_RETURN(opened->tensors, FindTensors(loaded.config, *loaded.file));
  if (levels != nullptr) {
    SKIPSTONE_RETURN_IF_ERROR(
        LoadMaps(*levels, loaded.fingerprint, *loaded.backend, &loaded.weights, &loaded.maps));
  }
  return opened;
}

absl::StatusOr<std::unique_ptr<quality::WindowPass>> MakePass(const CalibrateOptions& options,
                                                              OpenedModel& model, int window) {
  LoadedModel& loaded = model.loaded;
  if (window > loaded.config.shape.max_context) {
    return absl::InvalidArgumentError(
        absl::StrFormat("windows of %d tokens: the model's context is %d", window,
                        loaded.config.shape.max_context));
  }
  // Two at least: a set and the full model.
  const int variants = std::clamp(1 + options.step_rows / (window - 1), 2, kMostVariants);
  return quality::WindowPass::Make({.shape = loaded.config.shape,
                                    .tensors = model.tensors,
                                    .weights = loaded.weights,
                                    .maps = loaded.maps,
                                    .backend = *loaded.backend},
                                   {.window = window, .variants = variants});
}

}  // namespace skipstone::calibrate
