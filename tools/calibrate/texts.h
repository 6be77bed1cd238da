// Windows of token ids out of text files, and items of other tasks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/tokenizer.h"
#include "engine/quality/evaluate.h"
#include "engine/quality/trials.h"

namespace skipstone::calibrate {

// A file's ids: of UTF-8 text, or those that a file *.ids holds, separated by blanks or commas, for
// models whose tokenizer is not served. INVALID_ARGUMENT names the file: it is not UTF-8, holds
// what is no id of the vocabulary, or has fewer than `least` tokens.
struct Text {
  std::string path;
  std::vector<int32_t> ids;
};
absl::StatusOr<std::vector<Text>> ReadTexts(const std::vector<std::string>& paths,
                                            const Tokenizer& tokenizer, int vocab, int least);
// FNV-1a 64 of all ids.
uint64_t HashOf(const std::vector<Text>& texts);

// Takes the last `share` off each text.
std::vector<Text> SplitTail(std::vector<Text>& texts, double share);

// `count` windows of `tokens` ids, spread evenly over the texts in turn, each begun with `bos` if
// it is set; `seed` shifts where they begin. INVALID_ARGUMENT if a text is shorter than a window.
absl::StatusOr<quality::Windows> WindowsOf(const std::vector<Text>& texts, int count, int tokens,
                                           std::optional<int32_t> bos, uint64_t seed);

// Of JSON lines {"context": ..., "continuation": ...}, both texts or both lists of ids: at most
// `most` items of at most `tokens` ids, whose context is cut from the left. INVALID_ARGUMENT names
// file and line.
struct ItemLimits {
  int most = 0;    // items
  int tokens = 0;  // of one
  int vocab = 0;
};
absl::StatusOr<std::vector<quality::Continuation>> ReadLastWords(const std::string& path,
                                                                 const Tokenizer& tokenizer,
                                                                 const ItemLimits& limits,
                                                                 std::optional<int32_t> bos);

}  // namespace skipstone::calibrate
