// A report as a page for people who decide: one file with its pictures, no script, light or dark,
// also on a telephone.
#pragma once

#include <string>

#include "base/experiment/report/report_data.h"

namespace skipstone::experiment {

std::string ToHtml(const ExposureReport& report);

}  // namespace skipstone::experiment
