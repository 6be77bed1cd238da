// Where the source tree and the built programs lie. Functions of a library of their own, so that no
// other object depends on the path of a checkout and a compiler cache serves every clone.
#pragma once

#include <string>

namespace skipstone {

std::string SourceDir();
std::string BinDir();

}  // namespace skipstone
