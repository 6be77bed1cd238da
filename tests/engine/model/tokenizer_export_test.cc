// The files that gateways get, read by this tokenizer's own reader and by eye.
#include "engine/model/tokenizer_export.h"

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "engine/model/sentence_piece.h"
#include "engine/model/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"
#include "tests/support/tokenizer_json.h"

namespace skipstone {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using Files = std::map<std::string, std::string>;

Files Export(const std::string& dir) {
  const auto files = ExportTokenizer(dir, "NONCE");
  EXPECT_TRUE(files.ok()) << files.status();
  return files.ok() ? Files(files->begin(), files->end()) : Files();
}

std::unique_ptr<Tokenizer> Open(const std::string& dir) {
  auto tokenizer = OpenTokenizer(dir, 1);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::unique_ptr<SentencePieceModel> DemoModel() {
  std::string error;
  return SentencePieceModel::Parse(ReadTestFile(SourcePath("models/demo/tokenizer.model")), &error);
}

// Pieces, blanks, bytes that are no piece, and what looks like control tokens.
std::string RandomText(std::mt19937& random) {
  static const char* const kParts[] = {" ",     "  ",  "\n",     "\t",     "<s>",    "</s>",
                                       "<unk>", "the", "LORD",   "\u65e5", "\u00e9", "<0x0A>",
                                       "and ",  "x",   "[INST]", "1"};
  std::string text;
  for (int i = static_cast<int>(random() % 20); i >= 0; --i) text += kParts[random() % 16];
  return text;
}

void ExpectTheSameIds(const std::string& dir, Files files) {
  TempDir exported;
  json tokenizer = json::parse(files.at("tokenizer.json"));
  json& decoders = tokenizer.at("decoder").at("decoders");
  decoders.erase(decoders.begin(), decoders.begin() + 3);  // which this reader has no use for
  files["tokenizer.json"] = tokenizer.dump();
  for (const auto& [name, text] : files) exported.Write(name, text);
  const auto ours = Open(dir);
  const auto theirs = Open(exported.path());
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    const std::string text = RandomText(random);
    const auto ids = ours->Encode(text);
    ASSERT_EQ(*theirs->Encode(text), *ids) << testing::PrintToString(text);
  }
  EXPECT_EQ(theirs->bos_id(), 1) << "config.json's";
  EXPECT_EQ(theirs->eos_id(), 2);
  EXPECT_TRUE(theirs->CheckChat().ok()) << theirs->CheckChat();
}

TEST(TokenizerExportTest, OfATokenizerModelGivesItsIds) {
  const std::string dir = SourcePath("models/demo");
  ExpectTheSameIds(dir, Export(dir));
}

TEST(TokenizerExportTest, WhatTheFilesSayOfBlanksCounts) {
  for (const char* config : {R"({"legacy": false})", R"({"add_prefix_space": false})"}) {
    TempDir dir;
    dir.Write("tokenizer.model", ReadTestFile(SourcePath("models/demo/tokenizer.model")));
    dir.Write("tokenizer_config.json", config);
    ExpectTheSameIds(dir.path(), Export(dir.path()));
  }
}

TEST(TokenizerExportTest, OfATokenizerJsonGivesItsIds) {
  TempDir dir;
  dir.Write("tokenizer.json", TokenizerJsonOf(*DemoModel()).dump());
  dir.Write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  ExpectTheSameIds(dir.path(), Export(dir.path()));
}

TEST(TokenizerExportTest, OfLlama2HasThePublishedVocabularyAndMerges) {
  const std::string dir = SharedDataPath("llama2-tokenizer");
  if (dir.empty()) GTEST_SKIP() << "no published tokenizer here";
  TempDir alone;
  alone.Write("tokenizer.model", ReadTestFile(dir + "/tokenizer.model"));
  const json published = json::parse(ReadTestFile(dir + "/tokenizer.json"));
  const json ours = json::parse(Export(alone.path()).at("tokenizer.json"));
  EXPECT_EQ(ours.at("normalizer"), published.at("normalizer"));
  const json& model = published.at("model");
  EXPECT_EQ(ours.at("model").at("merges"), model.at("merges"));
  json vocab = ours.at("model").at("vocab");
  for (const auto& [piece, id] : model.at("vocab").items()) {
    if (id.get<int>() > 2) ASSERT_EQ(vocab.at(piece), id) << piece;
  }
  EXPECT_EQ(vocab.size(), model.at("vocab").size());
}

TEST(TokenizerExportTest, ControlTokensHaveNamesThatNobodyGuesses) {
  TempDir from_json;
  from_json.Write("tokenizer.json", TokenizerJsonOf(*DemoModel()).dump());
  for (const std::string& dir : {SourcePath("models/demo"), from_json.path()}) {
    const Files files = Export(dir);
    const json tokenizer = json::parse(files.at("tokenizer.json"));
    const json& vocab = tokenizer.at("model").at("vocab");
    for (const char* name : {"<s>", "</s>", "<unk>"}) {
      EXPECT_FALSE(vocab.contains(name)) << name;
      int hidden = 0;
      for (const json& decoder : tokenizer.at("decoder").at("decoders")) {
        hidden += decoder.value("content", "") == name;
      }
      EXPECT_EQ(hidden, 1) << name;
    }
    EXPECT_EQ(vocab.at("<|1:NONCE|>"), 1);
    EXPECT_EQ(vocab.at("<|2:NONCE|>"), 2);
    EXPECT_EQ(tokenizer.at("model").at("unk_token"), "<|0:NONCE|>");
    for (const json& token : tokenizer.at("added_tokens")) {
      EXPECT_TRUE(token.at("special").get<bool>());
      EXPECT_FALSE(token.at("normalized").get<bool>());
    }
    const json config = json::parse(files.at("tokenizer_config.json"));
    EXPECT_EQ(config.at("bos_token"), "<|1:NONCE|>");
    EXPECT_EQ(config.at("eos_token"), "<|2:NONCE|>");
  }
}

// Which would be the completion's own.
TEST(TokenizerExportTest, DecodingKeepsABlankInFront) {
  TempDir from_json;
  from_json.Write("tokenizer.json", TokenizerJsonOf(*DemoModel()).dump());
  for (const std::string& dir : {SourcePath("models/demo"), from_json.path()}) {
    const json tokenizer = json::parse(Export(dir).at("tokenizer.json"));
    std::vector<std::string> types;
    for (const json& each : tokenizer.at("decoder").at("decoders"))
      types.push_back(each.at("type"));
    EXPECT_THAT(types,
                ElementsAre("Replace", "Replace", "Replace", "Replace", "ByteFallback", "Fuse"))
        << "the first three show what no text may name";
  }
}

TEST(TokenizerExportTest, AModelsOwnTemplateStaysAndItsControlTokensAreRenamed) {
  TempDir dir;
  dir.Write("tokenizer.model", ReadTestFile(SourcePath("models/demo/tokenizer.model")));
  dir.Write("tokenizer_config.json",
            R"({"chat_template": "{{ bos_token }}<s>x</s>{{ eos_token }}<pad>"})");
  const json config = json::parse(Export(dir.path()).at("tokenizer_config.json"));
  EXPECT_EQ(config.at("chat_template"),
            "{{ bos_token }}<|1:NONCE|>x<|2:NONCE|>{{ eos_token }}<pad>");
}

// From whichever file; a special one is a control token to who writes a message.
TEST(TokenizerExportTest, AddedTokensStayTokensAndSpecialOnesAreNamedByNobody) {
  TempDir from_model, from_json;
  from_model.Write("tokenizer.model", ReadTestFile(SourcePath("models/demo/tokenizer.model")));
  from_json.Write("tokenizer.json", TokenizerJsonOf(*DemoModel()).dump());
  for (const TempDir* dir : {&from_model, &from_json}) {
    dir->Write("added_tokens.json", R"({"<tool>": 2048, "<|im_end|>": 2049})");
    dir->Write("special_tokens_map.json", R"({"additional_special_tokens": ["<|im_end|>"]})");
    dir->Write("tokenizer_config.json", R"({"chat_template": "a<|im_end|>b"})");
    const Files files = Export(dir->path());
    std::map<int, std::string> added;
    const json tokenizer = json::parse(files.at("tokenizer.json"));
    for (const json& token : tokenizer.at("added_tokens"))
      added[token.at("id")] = token.at("content");
    EXPECT_EQ(added.at(2048), "<tool>");
    EXPECT_EQ(added.at(2049), "<|2049:NONCE|>");
    EXPECT_EQ(json::parse(files.at("tokenizer_config.json")).at("chat_template"),
              "a<|2049:NONCE|>b");
  }
}

TEST(TokenizerExportTest, AnotherFormIsHandedOnAsItIs) {
  const std::string tokenizer =
      R"({"model": {"type": "Unigram", "vocab": []}, "added_tokens": [], "x":  1})";
  TempDir dir;
  dir.Write("tokenizer.json", tokenizer);
  dir.Write("chat_template.jinja", "{{ messages }}");
  const Files files = Export(dir.path());
  EXPECT_EQ(files.at("tokenizer.json"), tokenizer);
  EXPECT_EQ(files.at("chat_template.jinja"), "{{ messages }}");
  EXPECT_FALSE(files.contains("tokenizer_config.json"));
}

TEST(TokenizerExportTest, WhatIsNoTokenizerIsNamed) {
  TempDir dir;
  EXPECT_TRUE(absl::IsNotFound(ExportTokenizer(dir.path(), "n").status()));
  dir.Write("tokenizer.model", "no protobuf");
  const absl::Status status = ExportTokenizer(dir.path(), "n").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("tokenizer.model"));
}

TEST(TokenizerExportTest, APieceThatIsNotUtf8IsAnError) {
  std::string bytes = ReadTestFile(SourcePath("models/demo/tokenizer.model"));
  const size_t at = bytes.find("the");
  bytes[at] = '\xff';
  TempDir dir;
  dir.Write("tokenizer.model", bytes);
  EXPECT_TRUE(absl::IsInvalidArgument(ExportTokenizer(dir.path(), "n").status()));
}

// What a file nests without end is dropped, and overflows no stack.
TEST(TokenizerExportTest, ADeepFileDoesNoHarm) {
  json file = TokenizerJsonOf(*DemoModel());
  file["x"] = "HERE";
  const std::string deep = std::string(1000000, '[') + std::string(1000000, ']');
  std::string text = file.dump();
  text.replace(text.find("\"HERE\""), 6, deep);
  TempDir dir;
  dir.Write("tokenizer.json", text);
  EXPECT_LT(Export(dir.path()).at("tokenizer.json").size(), text.size());
}

}  // namespace
}  // namespace skipstone
