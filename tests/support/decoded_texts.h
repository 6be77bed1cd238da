// What the tokenizer of a folder decodes, for a test whose headers collide with abseil's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skipstone {

// Of each list of ids: at once, and from a stream. Empty if the folder's tokenizer cannot be
// opened.
struct DecodedText {
  std::string whole;
  std::string streamed;
};
std::vector<DecodedText> DecodedTexts(const std::string& dir,
                                      const std::vector<std::vector<int32_t>>& ids);

}  // namespace skipstone
