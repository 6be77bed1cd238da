#include "base/check.h"

#include <cstdlib>
#include <string>

#include "base/log.h"

namespace skipstone {

void CheckFailed(const char* file, int line, const char* condition) {
  Log(LogSeverity::kError,
      std::string(file) + ":" + std::to_string(line) + ": check failed: " + condition);
  std::abort();
}

}  // namespace skipstone
