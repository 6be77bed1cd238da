// The `skipstone` program as a function.
#pragma once

#include <span>
#include <string>

#include "client/cli/io.h"

namespace skipstone::client {

// `arguments` without the program's name. Returns the exit code: 0, 1 when the command failed (the
// gRPC code and message are on io.err), 2 when the command line is wrong.
int RunCli(std::span<const std::string> arguments, Io& io);

}  // namespace skipstone::client
