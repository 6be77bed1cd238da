// Reads exposure logs: what is a record, and what is not, by line.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <string>
#include <vector>

#include "base/experiment/exposure_record.h"

namespace skipstone::experiment {

struct ExposureCounts {
  int64_t records = 0;
  int64_t refused = 0;              // lines that are torn, foreign or longer than any record
  std::vector<std::string> errors;  // "NAME:LINE: why" of the first kMostErrors of them

  static constexpr size_t kMostErrors = 10;
};

// Hands the records of one log to `take`, in order, and adds to `counts`; blank lines are nothing.
// `name` stands for the log in errors.
void ReadExposures(std::istream& in, const std::string& name,
                   const std::function<void(ExposureRecord)>& take, ExposureCounts& counts);

}  // namespace skipstone::experiment
