// skipstone-calibrate: chooses the sublayers that a model misses least, fits maps that stand in for
// them, measures the levels on other text and work, and writes the file that the server loads.
#pragma once

#include <ostream>

#include "absl/status/status.h"
#include "tools/calibrate/options.h"

namespace skipstone::calibrate {

// Table to `out`, progress to `progress`. Goes on from the journal of an interrupted run to the
// same files, byte for byte on the CPU, times aside. Errors: INVALID_ARGUMENT names the flag, file
// or line.
absl::Status Calibrate(const CalibrateOptions& options, std::ostream& out, std::ostream& progress);

}  // namespace skipstone::calibrate
