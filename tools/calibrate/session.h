// A model that is opened for calibration: its weights on a backend, its host tensors, its text.
#pragma once

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/levels/levels_file.h"
#include "engine/make_backend.h"
#include "engine/model/tokenizer.h"
#include "engine/quality/window_pass.h"
#include "tools/calibrate/options.h"

namespace skipstone::calibrate {

struct OpenedModel {
  LoadedModel loaded;
  ModelTensors tensors;
};
// With the maps of `levels`, if there is one, which must outlive the model. Errors: of LoadModel
// and LoadMaps; INVALID_ARGUMENT for a model that is no directory.
absl::StatusOr<std::unique_ptr<OpenedModel>> OpenForCalibration(const CalibrateOptions& options,
                                                                const LevelsFile* levels);

// A pass over windows of up to `window` tokens, of so many variants as --step_rows allows.
absl::StatusOr<std::unique_ptr<quality::WindowPass>> MakePass(const CalibrateOptions& options,
                                                              OpenedModel& model, int window);

}  // namespace skipstone::calibrate
