// Several blocking calls at once.
#pragma once

#include <cstddef>
#include <functional>

#include "absl/status/status.h"
#include "client/cli/progress_line.h"

namespace skipstone::client {

// Runs call(0) to call(count - 1) on up to `threads` threads, started in order, and shows how many
// have ended. Blocks until all have ended. After the first error no
// more is started; it is what is returned.
absl::Status CallInParallel(size_t count, size_t threads,
                            const std::function<absl::Status(size_t)>& call,
                            ProgressLine& progress);

}  // namespace skipstone::client
