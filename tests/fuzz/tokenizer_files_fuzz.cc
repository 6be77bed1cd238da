// The JSON files of a tokenizer and a chat template: whatever they hold, the folder is refused, or
// every text becomes ids that it knows. The first byte chooses the file.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/check.h"
#include "base/utf8.h"
#include "engine/model/tokenizer.h"
#include "engine/model/tokenizer_export.h"
#include "tests/fuzz/fuzz_target.h"

namespace skipstone {
namespace {

const char kTokenizerJson[] =
    R"({"added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>",)"
    R"("special":true},{"id":2,"content":"</s>","special":true},{"id":7,"content":"<p>",)"
    R"("lstrip":true,"normalized":false}],"normalizer":{"type":"Sequence","normalizers":[)"
    R"({"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},)"
    R"("content":"▁"}]},"decoder":{"type":"Strip","content":" ","start":1,"stop":0},)"
    R"("model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"vocab":{"<unk>":0,"<s>":1,)"
    R"("</s>":2,"▁":3,"a":4,"b":5,"▁a":6},"merges":["▁ a"]}})";
const char kConfig[] =
    R"({"added_tokens_decoder":{"7":{"content":"<p>","special":true}},"eos_token":"<p>",)"
    R"("legacy":false,"chat_template":"{{ bos_token + '[INST] ' }}"})";

// A folder of this process, empty but for these files.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / "skipstone-fuzz-XXXXXX") {
    SKIPSTONE_CHECK(mkdtemp(path_.data()) != nullptr);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  void Write(const std::string& name, std::string_view bytes) {
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      if (entry.path().filename() != "tokenizer.json") std::filesystem::remove(entry.path());
    }
    std::ofstream(path_ + "/tokenizer.json", std::ios::binary) << kTokenizerJson;
    std::ofstream(path_ + "/" + name, std::ios::binary) << bytes;
  }

 private:
  std::string path_;
};

}  // namespace

FuzzSeeds Seeds() {
  return {{std::string("t") + kTokenizerJson, std::string("c") + kConfig, R"(a{"<p>":7,"<q>":8})",
           R"(s{"additional_special_tokens":["<p>",{"content":"b"}]})",
           "j{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% set content = 1 %}"},
          {"\"Metaspace\"", "\"prepend_scheme\":\"first\"", "\"special\":true", "\"normalized\"",
           "\"content\":\"a\"", "\"id\":8", "8", "null", "[]", "{}", "\"<s>\"",
           "\"byte_fallback\":true", "\"rstrip\":true", "\"ByteLevel\"", "{{", "%}", "'", "\\n"}};
}

}  // namespace skipstone

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skipstone;
  static Folder* const folder = [] {
    static Folder made;
    return &made;
  }();
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return 0;
  const char* const name = input[0] == 'c'   ? "tokenizer_config.json"
                           : input[0] == 'a' ? "added_tokens.json"
                           : input[0] == 's' ? "special_tokens_map.json"
                           : input[0] == 'j' ? "chat_template.jinja"
                                             : "tokenizer.json";
  folder->Write(name, input.substr(1));
  const auto tokenizer = OpenTokenizer(folder->path(), 1);
  if (!tokenizer.ok()) {
    SKIPSTONE_CHECK(absl::IsInvalidArgument(tokenizer.status()));
    return 0;
  }
  // Gateways get what is served, or nothing.
  const auto exported = ExportTokenizer(folder->path(), "nonce");
  SKIPSTONE_CHECK(exported.ok() || absl::IsInvalidArgument(exported.status()));
  for (const char* text : {"", " a <p>b\n", "<s>aab</s> \u00E9\u00E9<q>"}) {
    const auto ids = (*tokenizer)->Encode(text);
    SKIPSTONE_CHECK(ids.ok() == (*tokenizer)->CheckText().ok());
    if (!ids.ok()) continue;
    for (const int32_t id : *ids) SKIPSTONE_CHECK(id >= 0 && id < (*tokenizer)->vocab_size());
    SKIPSTONE_CHECK(IsValidUtf8((*tokenizer)->Decode(*ids)));
    for (size_t limit = 0; limit <= ids->size(); ++limit) {
      const auto fitting = (*tokenizer)->Encode(text, {.tokens = limit});
      SKIPSTONE_CHECK(fitting.ok() ? *fitting == *ids : limit < ids->size());
      const auto last = (*tokenizer)->Encode(text, {.tokens = limit, .keep_last = true});
      SKIPSTONE_CHECK(last.ok() && last->size() == limit);
      SKIPSTONE_CHECK(std::equal(last->rbegin(), last->rend(), ids->rbegin()));
    }
  }
  return 0;
}
