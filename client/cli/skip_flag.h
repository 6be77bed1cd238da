// The texts of --skip and --ceiling flags as the wire's messages.
#pragma once

#include <string>

#include "skipstone/v1/inference.pb.h"

namespace skipstone::client {

// A name ([a-z][a-z0-9._-]*) is a level of the server's, anything else (and "none") a spec of the
// skip grammar. Nothing is checked here: the server knows its levels and layers.
v1::Skip SkipFromText(const std::string& text);
// The text of a --ceiling flag, in the same form.
v1::Adaptive CeilingFromText(const std::string& text);

}  // namespace skipstone::client
