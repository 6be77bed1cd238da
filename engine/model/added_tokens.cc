#include "engine/model/added_tokens.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "base/utf8.h"

namespace skipstone {

absl::Status AddedTokens::Add(AddedToken token) {
  if (token.content.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("added token %d has an empty content", token.id));
  }
  if (const AddedToken* other = Find(token.id)) {
    return absl::InvalidArgumentError(absl::StrFormat("token %d is added as '%s' and as '%s'",
                                                      token.id, other->content, token.content));
  }
  if (const auto [it, added] = ids_.emplace(token.content, token.id); !added) {
    return absl::InvalidArgumentError(absl::StrFormat("'%s' is added as token %d and as token %d",
                                                      token.content, it->second, token.id));
  }
  const int32_t id = token.id;
  tokens_.emplace(id, std::move(token));
  return absl::OkStatus();
}

void AddedTokens::Finish() {
  for (const bool special : {false, true}) {
    std::vector<std::pair<std::string, int32_t>> raw;
    std::vector<std::pair<std::string, int32_t>> normalized;
    for (const auto& [id, token] : tokens_) {
      if (token.special && !special) continue;
      (token.normalized ? normalized : raw).emplace_back(token.content, id);
    }
    raw_[special] = PrefixMatcher(std::move(raw));
    normalized_[special] = PrefixMatcher(std::move(normalized));
  }
}

const AddedToken* AddedTokens::Find(int32_t id) const {
  const auto it = tokens_.find(id);
  return it == tokens_.end() ? nullptr : &it->second;
}

int32_t AddedTokens::IdOf(const std::string& content) const {
  const auto it = ids_.find(content);
  return it == ids_.end() ? -1 : it->second;
}

std::vector<AddedTokens::Part> AddedTokens::Split(std::string_view text, bool special) const {
  std::vector<Part> first;
  SplitBy(raw_[special], text, &first);
  if (normalized_[special].empty()) return first;
  std::vector<Part> parts;
  for (const Part& part : first) {
    if (part.id >= 0) {
      parts.push_back(part);
    } else {
      SplitBy(normalized_[special], part.text, &parts);
    }
  }
  return parts;
}

void AddedTokens::SplitBy(const PrefixMatcher& tokens, std::string_view text,
                          std::vector<Part>* parts) const {
  size_t rest = 0;  // where the text after the last token begins
  for (size_t at = 0; at < text.size() && !tokens.empty();) {
    const PrefixMatcher::Match match = tokens.Longest(text.substr(at));
    if (match.bytes == 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_.at(match.id);
    size_t begin = at;
    size_t end = at + match.bytes;
    if (token.lstrip) begin -= BlanksAtEnd(text.substr(rest, begin - rest));
    if (token.rstrip) end += BlanksAtStart(text.substr(end));
    if (begin > rest) parts->push_back({text.substr(rest, begin - rest)});
    parts->push_back({text.substr(begin, end - begin), match.id});
    rest = at = end;
  }
  if (rest < text.size()) parts->push_back({text.substr(rest)});
}

}  // namespace skipstone
