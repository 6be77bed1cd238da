// Lays out rows of text in columns for a terminal.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace skipstone {

// A column whose cells all look like numbers is aligned right, others left. Widths are counted in
// UTF-8 characters; control characters are printed as escapes, \n or \x1b. One thread.
class Table {
 public:
  // An empty header is not printed; the first row then says how many columns there are.
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}

  void AddRow(const std::vector<std::string>& cells);
  void Print(std::ostream& out) const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// Text of anyone for a line of a terminal: control characters as above.
std::string EscapeControls(const std::string& text);

// "-" if there is no value to show.
std::string FormatNumber(double value, int decimals = 1);

}  // namespace skipstone
