#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "client/cli/cli.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  skipstone::client::Io io{std::cin, std::cout, std::cerr, isatty(STDERR_FILENO) == 1};
  return skipstone::client::RunCli(arguments, io);
}
