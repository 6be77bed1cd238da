// The demo model's tokenizer on any bytes: valid UTF-8 comes back as it was, the rest is refused.
#include <memory>

#include "absl/strings/str_replace.h"
#include "base/check.h"
#include "base/utf8.h"
#include "engine/model/text_stream.h"
#include "engine/model/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/paths.h"

namespace skipstone {
namespace {

const Tokenizer& Demo() {
  static const Tokenizer* const demo = [] {
    auto opened = OpenTokenizer(SourceDir() + "/models/demo", 1);
    SKIPSTONE_CHECK(opened.ok());
    return opened->release();
  }();
  return *demo;
}

std::string Streamed(const std::vector<int32_t>& ids) {
  TextStream stream(Demo(), {.at_start = true});
  std::string text;
  for (const int32_t id : ids) text += stream.Add(id);
  return text + stream.Flush();
}

}  // namespace

FuzzSeeds Seeds() {
  return {{"And the LORD spake unto Moses, saying,\n", " two  blanks\t\n", "12345", "na\u00EFve",
           "\u6211\u60F3\u5728", "\U0001F642\U0001F468\u200D\U0001F469", "<s>[INST] a [/INST]</s>",
           std::string("nul\0nul", 7), std::string(300, 'a'), ""},
          {" ", "\n", "\u2581", "<s>", "</s>", "<unk>", "<0x0A>", "\u00E9", "\uFFFD", "\uFEFF",
           "\U0010FFFF", "\xFF", "\xED\xA0\x80", "the", "LORD"}};
}

}  // namespace skipstone

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skipstone;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto ids = Demo().Encode(text);
  SKIPSTONE_CHECK(ids.ok() == IsValidUtf8(text));
  if (ids.ok()) {
    for (const int32_t id : *ids) SKIPSTONE_CHECK(id > 2 && id < Demo().vocab_size());
    // U+2581 is the vocabulary's sign for a blank.
    const std::string wanted = absl::StrReplaceAll(text, {{"\u2581", " "}});
    SKIPSTONE_CHECK(Demo().Decode(*ids) == wanted);
    SKIPSTONE_CHECK(Streamed(*ids) == wanted);
  } else {
    SKIPSTONE_CHECK(absl::IsInvalidArgument(ids.status()));
  }
  // Bytes as ids: decoding takes any, also such as are outside the vocabulary.
  std::vector<int32_t> any(data, data + size);
  for (size_t i = 0; i + 1 < any.size(); i += 2) any[i] = any[i] * 256 + any[i + 1] - 1000;
  SKIPSTONE_CHECK(IsValidUtf8(Demo().Decode(any)));
  SKIPSTONE_CHECK(Streamed(any) == Demo().Decode(any));
  return 0;
}
