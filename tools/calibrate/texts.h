// Windows of token ids out of text files, and items of other tasks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/quality/task_files.h"
#include "engine/model/tokenizer.h"
#include "engine/quality/evaluate.h"
#include "engine/quality/trials.h"

namespace skipstone::calibrate {

// A file's ids: of UTF-8 text, or those that a file *.ids holds, for models whose tokenizer is not
// served. Errors name flag and file: those of quality::ReadTask; INVALID_ARGUMENT for what is not
// UTF-8 or no id of the vocabulary.
struct Text {
  std::string path;
  std::vector<int32_t> ids;
};
absl::StatusOr<std::vector<Text>> ReadTexts(const std::string& flag,
                                            const std::vector<std::string>& paths,
                                            const Tokenizer& tokenizer, int vocab);
// FNV-1a 64 of all ids.
uint64_t HashOf(const std::vector<Text>& texts);

// Takes the last `share` off each text.
std::vector<Text> SplitTail(std::vector<Text>& texts, double share);

// `count` windows of `tokens` ids, spread evenly over the texts in turn, each begun with `bos` if
// it is set; `seed` shifts where they begin. INVALID_ARGUMENT if a text is shorter than a window.
absl::StatusOr<quality::Windows> WindowsOf(const std::vector<Text>& texts, int count, int tokens,
                                           std::optional<int32_t> bos, uint64_t seed);

// How items become token ids: each begun with `bos` if it is set, of at most `tokens`, for which
// the context is cut from the left.
struct ItemRules {
  const Tokenizer& tokenizer;
  int vocab = 0;
  int tokens = 0;
  std::optional<int32_t> bos;
};

// The first `most` of a file. Errors name flag and line: those of quality::ReadLastWords;
// INVALID_ARGUMENT for an item without a token of context or continuation.
absl::StatusOr<std::vector<quality::Continuation>> LastWordItems(const std::string& path, int most,
                                                                 const ItemRules& rules);

struct ChoiceTask {
  std::vector<quality::ChoiceItem> items;
  std::vector<quality::Continuation> answers;  // the choices of each item in turn
};
// The same of quality::ReadChoices.
absl::StatusOr<ChoiceTask> ChoiceItems(const std::string& path, int most, const ItemRules& rules);

}  // namespace skipstone::calibrate
