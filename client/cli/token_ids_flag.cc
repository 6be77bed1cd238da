#include "client/cli/token_ids_flag.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/read_file.h"
#include "base/status.h"

namespace skipstone::client {
namespace {

// Of a bad id that an error shows.
constexpr size_t kMostShown = 20;

absl::Status AddId(const std::string& where, absl::string_view word, std::vector<uint32_t>& ids) {
  uint32_t id = 0;
  if (absl::SimpleAtoi(word, &id)) {
    ids.push_back(id);
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: id %d is \"%s\", not a number from 0 to 4294967295", where,
                      ids.size() + 1, absl::CEscape(word.substr(0, kMostShown))));
}

}  // namespace

absl::StatusOr<std::vector<uint32_t>> ParseTokenIds(const std::string& where,
                                                    const std::string& text) {
  absl::string_view list = absl::StripAsciiWhitespace(text);
  if (list.size() >= 2 && list.front() == '[' && list.back() == ']') {
    list = absl::StripAsciiWhitespace(list.substr(1, list.size() - 2));
  }
  if (list.empty()) return absl::InvalidArgumentError(absl::StrFormat("%s: no ids", where));
  std::vector<uint32_t> ids;
  for (const absl::string_view part : absl::StrSplit(list, ',')) {
    std::vector<absl::string_view> words =
        absl::StrSplit(part, absl::ByAnyChar(" \t\r\n\v\f"), absl::SkipEmpty());
    if (words.empty()) words = {""};  // nothing between two commas
    for (const absl::string_view word : words) {
      SKIPSTONE_RETURN_IF_ERROR(AddId(where, word, ids));
    }
  }
  return ids;
}

void TokenIdsFlag::AddTo(FlagSet& flags) {
  flags.Add("ids", &text_, "token ids instead of text: 1,2,3 or @FILE");
}

absl::Status TokenIdsFlag::Check() const {
  if (!given() || in_file()) return absl::OkStatus();
  return ParseTokenIds("--ids", *text_).status();
}

absl::StatusOr<std::vector<uint32_t>> TokenIdsFlag::Read() const {
  if (!in_file()) return ParseTokenIds("--ids", *text_);
  SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, ReadFile("--ids", text_->substr(1)));
  return ParseTokenIds("--ids " + *text_, text);
}

}  // namespace skipstone::client
