#include "base/experiment/exposure_reader.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"

namespace skipstone::experiment {
namespace {

// A record with the texts of a context of 100,000 tokens has less.
constexpr std::streamsize kMostBytes = std::streamsize{4} << 20;

}  // namespace

// Bytes of the buffer that no line needed are never touched, so that many readers cost little.
ExposureReader::ExposureReader(std::istream& in, std::string name, ExposureCounts& counts)
    : in_(in),
      name_(std::move(name)),
      counts_(counts),
      buffer_(std::make_unique_for_overwrite<char[]>(static_cast<size_t>(kMostBytes))) {}

// False at the end.
bool ExposureReader::ReadLine() {
  in_.getline(buffer_.get(), kMostBytes);
  const std::streamsize read = in_.gcount();
  whole_ = !in_.fail();
  // The stream counts the line end that it took, which the last line may lack.
  const bool ended = whole_ && !in_.eof() && read > 0;
  line_ = std::string_view(buffer_.get(), static_cast<size_t>(ended ? read - 1 : read));
  if (whole_ || read == 0) return whole_;
  in_.clear();
  in_.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  return true;
}

std::optional<ExposureRecord> ExposureReader::Next() {
  while (ReadLine()) {
    ++number_;
    if (line_.empty()) continue;
    absl::StatusOr<ExposureRecord> record =
        whole_ ? ParseExposure(line_)
               : absl::InvalidArgumentError("no exposure record: the line is too long");
    if (record.ok()) {
      ++counts_.records;
      return *std::move(record);
    }
    ++counts_.refused;
    if (counts_.errors.size() == ExposureCounts::kMostErrors) continue;
    counts_.errors.push_back(
        absl::StrFormat("%s:%d: %s", name_, number_, std::string(record.status().message())));
  }
  return std::nullopt;
}

void ReadExposures(std::istream& in, const std::string& name,
                   const std::function<void(ExposureRecord)>& take, ExposureCounts& counts) {
  ExposureReader reader(in, name, counts);
  while (auto record = reader.Next()) take(*std::move(record));
}

void MergeExposures(std::span<const NamedLog> logs, const std::function<void(ExposureRecord)>& take,
                    ExposureCounts& counts) {
  struct Head {
    ExposureRecord record;
    std::unique_ptr<ExposureReader> reader;
  };
  std::vector<Head> heads;  // a heap: the earliest in front
  const auto later = [](const Head& a, const Head& b) {
    return a.record.time_unix_ms > b.record.time_unix_ms;
  };
  const auto push = [&](std::unique_ptr<ExposureReader> reader) {
    auto record = reader->Next();
    if (!record) return;
    heads.push_back({*std::move(record), std::move(reader)});
    std::ranges::push_heap(heads, later);
  };
  for (const NamedLog& log : logs) {
    push(std::make_unique<ExposureReader>(log.in, log.name, counts));
  }
  while (!heads.empty()) {
    std::ranges::pop_heap(heads, later);
    Head head = std::move(heads.back());
    heads.pop_back();
    take(std::move(head.record));
    push(std::move(head.reader));
  }
}

}  // namespace skipstone::experiment
