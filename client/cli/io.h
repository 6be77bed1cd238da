// Where a command prints. Results go to `out`, everything about the run to `err`.
#pragma once

#include <istream>
#include <ostream>

namespace skipstone::client {

struct Io {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;
};

}  // namespace skipstone::client
