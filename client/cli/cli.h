// The `skipstone` program as a function.
#pragma once

#include <istream>
#include <ostream>
#include <span>
#include <string>

namespace skipstone::client {

// Where a command prints. Results go to `out`, everything about the run to `err`.
struct Io {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;
};

// `arguments` without the program's name. Returns the exit code: 0, 1 when the command failed (the
// gRPC code and message are on io.err), 2 when the command line is wrong.
int RunCli(std::span<const std::string> arguments, Io& io);

}  // namespace skipstone::client
