#include "tests/support/decoded_texts.h"

#include "engine/model/text_stream.h"
#include "engine/model/tokenizer.h"

namespace skipstone {

std::vector<DecodedText> DecodedTexts(const std::string& dir,
                                      const std::vector<std::vector<int32_t>>& ids) {
  std::vector<DecodedText> texts;
  const auto tokenizer = OpenTokenizer(dir, std::nullopt);
  if (!tokenizer.ok()) return texts;
  for (const std::vector<int32_t>& list : ids) {
    TextStream stream(**tokenizer, {.at_start = true});
    DecodedText text{.whole = (*tokenizer)->Decode(list)};
    for (const int32_t id : list) text.streamed += stream.Add(id);
    text.streamed += stream.Flush();
    texts.push_back(text);
  }
  return texts;
}

}  // namespace skipstone
