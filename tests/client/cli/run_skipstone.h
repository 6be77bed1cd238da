// Runs the `skipstone` program in this process.
#pragma once

#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/cli.h"

namespace skipstone::client {

struct CliResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};

inline CliResult RunSkipstone(const std::vector<std::string>& arguments,
                              const std::string& input = "") {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  Io io{in, out, err};
  const int exit_code = RunCli(arguments, io);
  return {exit_code, out.str(), err.str()};
}

// A stream that calls `on_flush` with all that was written so far, on the thread that flushes.
class WatchedOutput : public std::stringbuf {
 public:
  explicit WatchedOutput(std::function<void(const std::string&)> on_flush)
      : on_flush_(std::move(on_flush)) {}

 private:
  int sync() override {
    on_flush_(str());
    return 0;
  }

  const std::function<void(const std::string&)> on_flush_;
};

}  // namespace skipstone::client
