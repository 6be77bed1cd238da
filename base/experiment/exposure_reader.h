// Reads exposure logs: what is a record, and what is not, by line.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/experiment/exposure_record.h"

namespace skipstone::experiment {

struct ExposureCounts {
  int64_t records = 0;
  int64_t refused = 0;              // lines that are torn, foreign or longer than any record
  std::vector<std::string> errors;  // "NAME:LINE: why" of the first kMostErrors of them

  static constexpr size_t kMostErrors = 10;
};

// One log, record by record. One thread.
class ExposureReader {
 public:
  // Adds to `counts`. `name` stands for the log in errors.
  ExposureReader(std::istream& in, std::string name, ExposureCounts& counts);

  // Passes over blank lines and over those that hold no record. Nothing at the end.
  std::optional<ExposureRecord> Next();

 private:
  bool ReadLine();

  std::istream& in_;
  const std::string name_;
  ExposureCounts& counts_;
  const std::unique_ptr<char[]> buffer_;
  std::string_view line_;
  bool whole_ = true;  // the line is no longer than any record
  int64_t number_ = 0;
};

// Hands the records of one log to `take`, in order.
void ReadExposures(std::istream& in, const std::string& name,
                   const std::function<void(ExposureRecord)>& take, ExposureCounts& counts);

struct NamedLog {
  std::istream& in;
  std::string name;
};
// ... of several logs, of replicas or one behind the other: of those that come next in each log
// the earliest first. So records that a log has in order of time are handed over in it.
void MergeExposures(std::span<const NamedLog> logs, const std::function<void(ExposureRecord)>& take,
                    ExposureCounts& counts);

}  // namespace skipstone::experiment
