// Text streams against the definition. The first byte holds the options, then come up to three
// stop strings and the tokens, each after a byte with its length.
#include <algorithm>

#include "base/check.h"
#include "base/utf8.h"
#include "engine/model/text_stream.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/stop_reference.h"

namespace skipstone {
namespace {

std::string TakeString(std::string_view* input) {
  if (input->empty()) return "";
  const size_t length = std::min<size_t>((*input)[0] & 7, input->size() - 1);
  const std::string text(input->substr(1, length));
  input->remove_prefix(1 + length);
  return text;
}

void Check(const std::vector<std::string>& tokens, const TextStream::Options& options) {
  std::string bytes;
  for (const std::string& token : tokens) bytes += token;
  const StoppedText wanted = StopReference(bytes, options.stop_strings, options.include_stop);
  const ByteTokenizer tokenizer(tokens);
  TextStream stream(tokenizer, options);
  std::string text;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string delta = stream.Add(static_cast<int32_t>(id));
    SKIPSTONE_CHECK(IsValidUtf8(delta));
    text += delta;
    SKIPSTONE_CHECK(wanted.text.starts_with(text));
  }
  text += stream.Flush();
  SKIPSTONE_CHECK(text == wanted.text);
  SKIPSTONE_CHECK(stream.matched_stop() == wanted.stop);
}

}  // namespace

FuzzSeeds Seeds() {
  return {{std::string("\x03\x02\n\n\x01.\x04stop\x03one\x01\n\x01\n\x03two"),
           std::string("\x05\x03"
                       "aab\x01"
                       "b\x02"
                       "aa\x01"
                       "a\x01"
                       "b\x01"
                       "b"),
           std::string("\x01\x03\xE2\x82\xAC\x02"
                       "a\xE2\x01\x82\x02\xAC"
                       "b\x01\xFF"),
           "\x00", ""},
          {"\x01"
           "a",
           "\x02"
           "ab",
           "\x01\xE2", "\x01\x82", "\x01\xAC", "\x03\xE2\x82\xAC", "\x01\xFF", "\x03\xEF\xBF\xBD",
           "\x04\xF0\x9F\x99\x82", "aaaa"}};
}

}  // namespace skipstone

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skipstone;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return 0;
  TextStream::Options options;
  options.include_stop = (input[0] & 4) != 0;
  const int stops = input[0] & 3;
  input.remove_prefix(1);
  for (int i = 0; i < stops; ++i) options.stop_strings.push_back(TakeString(&input));
  std::vector<std::string> tokens;
  while (!input.empty()) tokens.push_back(TakeString(&input));
  Check(tokens, options);
  return 0;
}
