// The line on standard error that says how far a command is.
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

namespace skipstone::client {

// Of a benchmark.
struct Progress {
  uint64_t sent = 0;
  uint64_t open = 0;
  uint64_t ok = 0;
  uint64_t failed = 0;
  uint64_t output_tokens = 0;  // of those that ended
};

// On a terminal one line, rewritten twice a second; elsewhere a new line every 5 s. One thread.
class ProgressLine {
 public:
  ProgressLine(std::ostream& out, bool terminal) : out_(out), terminal_(terminal) {}

  std::chrono::milliseconds interval() const {
    return std::chrono::milliseconds(terminal_ ? 500 : 5000);
  }
  void Show(const Progress& progress, double elapsed_s);
  void Show(const std::string& text);
  // Clears the line.
  void Finish();

 private:
  std::ostream& out_;
  const bool terminal_;
};

}  // namespace skipstone::client
