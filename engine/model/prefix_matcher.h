// Finds which of a set of texts a text begins with: the longest. Immutable once filled, so
// thread-safe. A look-up takes O(length of the match x log of the set).
#pragma once

#include <algorithm>
#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skipstone {

class PrefixMatcher {
 public:
  struct Match {
    size_t bytes = 0;  // 0: none
    int32_t id = -1;
  };

  PrefixMatcher() = default;
  // Texts must differ; empty ones never match.
  explicit PrefixMatcher(std::vector<std::pair<std::string, int32_t>> texts)
      : texts_(std::move(texts)) {
    std::sort(texts_.begin(), texts_.end());
    for (const auto& [text, id] : texts_) {
      if (!text.empty()) begins_.set(Byte(text.front()));
    }
  }

  bool empty() const { return texts_.empty(); }

  Match Longest(std::string_view text) const {
    Match longest;
    if (text.empty() || !begins_[Byte(text.front())]) return longest;
    auto first = texts_.begin();
    auto last = texts_.end();
    // Those that agree with the text so far are neighbours, the shortest of them first.
    for (size_t at = 0; at < text.size() && first != last; ++at) {
      const auto begins_before = [at](const auto& entry, char c) {
        return entry.first.size() <= at || Byte(entry.first[at]) < Byte(c);
      };
      const auto begins_after = [at](char c, const auto& entry) {
        return entry.first.size() > at && Byte(c) < Byte(entry.first[at]);
      };
      first = std::lower_bound(first, last, text[at], begins_before);
      last = std::upper_bound(first, last, text[at], begins_after);
      if (first != last && first->first.size() == at + 1) longest = {at + 1, first->second};
    }
    return longest;
  }

 private:
  static unsigned char Byte(char c) { return static_cast<unsigned char>(c); }

  std::vector<std::pair<std::string, int32_t>> texts_;
  std::bitset<256> begins_;  // the first bytes: most texts begin with none of them
};

}  // namespace skipstone
