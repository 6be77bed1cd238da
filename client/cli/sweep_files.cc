#include "client/cli/sweep_files.h"

#include "base/status.h"

namespace skipstone::client {

absl::StatusOr<SweepFiles> ReadSweepFiles(const SweepPaths& paths, size_t items) {
  SweepFiles files{.paths = paths};
  if (!paths.text.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(files.text, quality::ReadTask("--text", paths.text));
  }
  if (!paths.choices.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(files.choices,
                               quality::ReadChoices("--choices", paths.choices, items));
  }
  if (!paths.last_words.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(files.last_words,
                               quality::ReadLastWords("--last_words", paths.last_words, items));
  }
  if (!paths.prompts.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(files.prompts,
                               quality::ReadPrompts("--prompts", paths.prompts, items));
  }
  return files;
}

}  // namespace skipstone::client
