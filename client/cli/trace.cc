#include "client/cli/trace.h"

#include <cmath>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"

namespace skipstone::client {
namespace {

std::optional<double> ParseArrival(absl::string_view text) {
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds) && std::isfinite(seconds)) return seconds;
  absl::Time time;
  if (!absl::ParseTime("%Y-%m-%d%t%H:%M:%E*S", text, &time, nullptr)) return std::nullopt;
  return absl::ToDoubleSeconds(time - absl::UnixEpoch());
}

std::optional<TraceRow> ParseRow(const std::string& line) {
  const std::vector<absl::string_view> fields = absl::StrSplit(line, ',');
  TraceRow row;
  if (fields.size() != 3) return std::nullopt;
  const auto arrival = ParseArrival(absl::StripAsciiWhitespace(fields[0]));
  if (!arrival || !absl::SimpleAtoi(fields[1], &row.prompt_tokens) ||
      !absl::SimpleAtoi(fields[2], &row.output_tokens)) {
    return std::nullopt;
  }
  row.arrival_s = *arrival;
  return row;
}

}  // namespace

absl::StatusOr<std::vector<TraceRow>> ParseTrace(std::istream& in) {
  std::vector<TraceRow> rows;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    absl::StripAsciiWhitespace(&line);
    if (line.empty()) continue;
    const auto row = ParseRow(line);
    if (!row) {
      if (number == 1) continue;
      return absl::InvalidArgumentError(absl::StrFormat(
          "trace line %d: \"%s\" is not ARRIVAL,PROMPT_TOKENS,OUTPUT_TOKENS", number, line));
    }
    if (!rows.empty() && row->arrival_s < rows.back().arrival_s) {
      return absl::InvalidArgumentError(
          absl::StrFormat("trace line %d: arrives before the line above it", number));
    }
    rows.push_back(*row);
  }
  if (rows.empty()) return absl::InvalidArgumentError("the trace has no rows");
  const double first = rows.front().arrival_s;
  for (TraceRow& row : rows) row.arrival_s -= first;
  return rows;
}

}  // namespace skipstone::client
