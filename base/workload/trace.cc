#include "base/workload/trace.h"

#include <cmath>
#include <fstream>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"

namespace skipstone {
namespace {

constexpr double kMaxSeconds = 4e9;  // differences in nanoseconds stay within 64 bits

std::optional<Duration> ReadArrival(absl::string_view text) {
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds)) {
    if (!(std::abs(seconds) <= kMaxSeconds)) return std::nullopt;
    return Duration(std::llround(1e9 * seconds));
  }
  absl::Time time;
  if (!absl::ParseTime("%Y-%m-%d%t%H:%M:%E*S", text, &time, nullptr) ||
      std::abs(absl::ToDoubleSeconds(time - absl::UnixEpoch())) > kMaxSeconds) {
    return std::nullopt;
  }
  return Duration(absl::ToUnixNanos(time));
}

std::optional<TraceRow> ReadRow(const std::string& line) {
  const std::vector<absl::string_view> cells = absl::StrSplit(line, ',');
  if (cells.size() != 3) return std::nullopt;
  TraceRow row;
  const auto arrival = ReadArrival(absl::StripAsciiWhitespace(cells[0]));
  const bool numbers = absl::SimpleAtoi(cells[1], &row.prompt_tokens) &&
                       absl::SimpleAtoi(cells[2], &row.output_tokens);
  if (!arrival || !numbers || row.prompt_tokens < 0 || row.output_tokens < 0) return std::nullopt;
  row.arrival = *arrival;
  return row;
}

}  // namespace

absl::StatusOr<std::vector<TraceRow>> ReadTrace(std::istream& in) {
  std::vector<TraceRow> rows;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    absl::StripAsciiWhitespace(&line);
    const std::optional<TraceRow> row = ReadRow(line);
    if (line.empty() || (number == 1 && !row)) continue;
    if (!row || (!rows.empty() && row->arrival < rows.back().arrival)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "trace line %d: \"%s\" %s", number, line,
          row ? "arrives before the line above it" : "is not ARRIVAL,PROMPT_TOKENS,OUTPUT_TOKENS"));
    }
    rows.push_back(*row);
  }
  if (rows.empty()) return absl::InvalidArgumentError("the trace has no rows");
  const Duration first = rows.front().arrival;
  for (TraceRow& row : rows) row.arrival -= first;
  return rows;
}

absl::StatusOr<std::vector<TraceRow>> ReadTraceFile(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrFormat("--trace: cannot read \"%s\"", path));
  auto rows = ReadTrace(file);
  if (rows.ok()) return rows;
  return absl::InvalidArgumentError(
      absl::StrFormat("--trace %s: %s", path, std::string(rows.status().message())));
}

}  // namespace skipstone
