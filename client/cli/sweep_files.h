// The files that `skipstone sweep` measures on, as they were read.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/quality/task_files.h"

namespace skipstone::client {

// Empty path: none given.
struct SweepPaths {
  std::string text;
  std::string choices;
  std::string last_words;
  std::string prompts;
};

struct SweepFiles {
  SweepPaths paths;
  std::optional<quality::TextOrIds> text;
  std::vector<quality::ChoiceItem> choices;
  std::vector<quality::LastWordItem> last_words;
  std::vector<quality::PromptItem> prompts;
};

// Reads what is given, of the last three no more than the first `items` items. Errors: those of
// base/quality/task_files.h.
absl::StatusOr<SweepFiles> ReadSweepFiles(const SweepPaths& paths, size_t items);

}  // namespace skipstone::client
