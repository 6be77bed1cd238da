// Items of quality tasks as files hold them: texts, or token ids for models whose tokenizer is not
// at hand. Any thread may call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace skipstone::quality {

using TextOrIds = std::variant<std::string, std::vector<int32_t>>;

// One question, asked as lm-evaluation-harness asks it.
struct ChoiceItem {
  int line = 0;                    // in its file, from 1
  TextOrIds context;               // of texts: query and "\nAnswer:"
  std::vector<TextOrIds> choices;  // of texts: with the blank in front of them; none is empty
  std::vector<int> characters;     // of each choice, without that blank: see ChoiceOutcome
  int gold = 0;                    // index of the right one
};

struct LastWordItem {
  int line = 0;
  TextOrIds context;
  TextOrIds continuation;  // of texts: with the blank in front of it; not empty
};

struct PromptItem {
  int line = 0;
  TextOrIds prompt;  // not blank
};

// All readers: `flag` names the file in errors, which are NOT_FOUND if it cannot be read, and
// INVALID_ARGUMENT naming flag and line if it holds something else or nothing. Ids are whole
// numbers from 0, of any vocabulary.
//
// A whole file: text, or the ids of a file *.ids, parted by blanks, commas or line ends.
absl::StatusOr<TextOrIds> ReadTask(const std::string& flag, const std::string& path);
// The first `most` items of JSON lines; blank lines are none, other fields are not looked at:
//   {"query": "Question: ...", "choices": ["...", ...], "gold": 0}
//   {"query": [ids], "choices": [[ids], ...], "characters": [4, ...], "gold": 0}
absl::StatusOr<std::vector<ChoiceItem>> ReadChoices(const std::string& flag,
                                                    const std::string& path, size_t most);
//   {"context": "...", "continuation": "signs"}, or [ids] both
absl::StatusOr<std::vector<LastWordItem>> ReadLastWords(const std::string& flag,
                                                        const std::string& path, size_t most);
// One a line; the ids of one a line in a file *.ids.
absl::StatusOr<std::vector<PromptItem>> ReadPrompts(const std::string& flag,
                                                    const std::string& path, size_t most);

// "--choices line 3": how errors name an item.
std::string LineName(std::string_view flag, int line);

}  // namespace skipstone::quality
