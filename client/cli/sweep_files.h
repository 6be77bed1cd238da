// The files that `skipstone sweep` measures on, as they were read: texts, not yet tokens.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace skipstone::client {

struct ChoiceItem {
  int line = 0;  // in its file, from 1
  std::string query;
  std::vector<std::string> choices;  // none is empty
  int gold = 0;                      // index of the right one
};

struct LastWordItem {
  int line = 0;
  std::string context;
  std::string continuation;  // with the blank in front of it
};

struct PromptLine {
  int line = 0;
  std::string text;
};

// Empty path: none given.
struct SweepPaths {
  std::string text;
  std::string choices;
  std::string last_words;
  std::string prompts;
};

struct SweepFiles {
  SweepPaths paths;
  std::string text;
  std::vector<ChoiceItem> choices;
  std::vector<LastWordItem> last_words;
  std::vector<PromptLine> prompts;
};

// Reads what is given, of the last three no more than the first `items` items; blank lines are
// none. JSONL of choices: {"query": "Question: ...", "choices": ["...", ...], "gold": 0}; of last
// words: {"context": "...", "continuation": "signs"}; other fields are not looked at. Prompts: one
// a line. Errors: NOT_FOUND; INVALID_ARGUMENT naming flag and line, also for a file without items.
absl::StatusOr<SweepFiles> ReadSweepFiles(const SweepPaths& paths, size_t items);

// "--choices line 3": how errors name an item.
std::string LineName(std::string_view flag, int line);

// Unicode code points of valid UTF-8.
int CountCharacters(std::string_view utf8);

}  // namespace skipstone::client
