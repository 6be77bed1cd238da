// The name under which a model is served.
#pragma once

#include <string>

namespace skipstone::server {

// `name` if there is one; else what `model` is called: the last folder of a path (of "." and ".."
// the real one), owner/name of a snapshot in Hugging Face's cache, synthetic:... as it stands.
std::string ServedNameOf(const std::string& name, const std::string& model);

}  // namespace skipstone::server
