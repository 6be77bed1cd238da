#include "tests/support/paths.h"

namespace skipstone {

std::string SourceDir() { return SKIPSTONE_SOURCE_DIR; }

std::string BinDir() { return SKIPSTONE_BIN_DIR; }

}  // namespace skipstone
