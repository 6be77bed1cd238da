#include "base/table.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/utf8.h"

namespace skipstone {
namespace {

bool LooksNumeric(const std::string& text) {
  if (text.empty() || text == "-") return true;
  const size_t sign = text[0] == '-' || text[0] == '+';
  return text.size() > sign && std::isdigit(static_cast<unsigned char>(text[sign]));
}

struct Column {
  int width = 0;
  bool right = true;
};

void PrintRow(const std::vector<std::string>& cells, const std::vector<Column>& columns,
              std::ostream& out) {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string pad(columns[i].width - CountCharacters(cells[i]), ' ');
    if (i > 0) line += "  ";
    line += columns[i].right ? pad + cells[i] : cells[i] + pad;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  out << line << '\n';
}

}  // namespace

void Table::AddRow(const std::vector<std::string>& cells) {
  std::vector<std::string>& row = rows_.emplace_back();
  std::transform(cells.begin(), cells.end(), std::back_inserter(row), EscapeControls);
}

void Table::Print(std::ostream& out) const {
  size_t num_columns = header_.size();
  for (const auto& row : rows_) num_columns = std::max(num_columns, row.size());
  std::vector<Column> columns(num_columns);
  for (size_t i = 0; i < header_.size(); ++i) columns[i].width = CountCharacters(header_[i]);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      columns[i].width = std::max(columns[i].width, CountCharacters(row[i]));
      columns[i].right = columns[i].right && LooksNumeric(row[i]);
    }
  }
  if (!header_.empty()) PrintRow(header_, columns, out);
  for (const auto& row : rows_) PrintRow(row, columns, out);
}

std::string EscapeControls(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\n') {
      escaped += "\\n";
    } else if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppendFormat(&escaped, "\\x%02x", static_cast<int>(c));
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string FormatNumber(double value, int decimals) {
  if (!std::isfinite(value)) return "-";
  return absl::StrFormat("%.*f", decimals, value);
}

}  // namespace skipstone
