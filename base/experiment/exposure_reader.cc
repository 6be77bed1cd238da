#include "base/experiment/exposure_reader.h"

#include <limits>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"

namespace skipstone::experiment {
namespace {

// A record with the texts of a context of 100,000 tokens has less.
constexpr std::streamsize kMostBytes = std::streamsize{4} << 20;

// False at the end. *whole: the line is no longer than any record.
bool ReadLine(std::istream& in, std::string& buffer, std::string_view* line, bool* whole) {
  in.getline(buffer.data(), kMostBytes);
  const std::streamsize read = in.gcount();
  *whole = !in.fail();
  // The stream counts the line end that it took, which the last line may lack.
  const bool ended = *whole && !in.eof() && read > 0;
  *line = std::string_view(buffer.data(), static_cast<size_t>(ended ? read - 1 : read));
  if (*whole || read == 0) return *whole;
  in.clear();
  in.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  return true;
}

}  // namespace

void ReadExposures(std::istream& in, const std::string& name,
                   const std::function<void(ExposureRecord)>& take, ExposureCounts& counts) {
  std::string buffer(static_cast<size_t>(kMostBytes), '\0');
  std::string_view line;
  bool whole = true;
  for (int64_t number = 1; ReadLine(in, buffer, &line, &whole); ++number) {
    if (line.empty()) continue;
    absl::StatusOr<ExposureRecord> record =
        whole ? ParseExposure(line)
              : absl::InvalidArgumentError("no exposure record: the line is too long");
    if (record.ok()) {
      ++counts.records;
      take(*std::move(record));
      continue;
    }
    ++counts.refused;
    if (counts.errors.size() == ExposureCounts::kMostErrors) continue;
    counts.errors.push_back(
        absl::StrFormat("%s:%d: %s", name, number, std::string(record.status().message())));
  }
}

}  // namespace skipstone::experiment
