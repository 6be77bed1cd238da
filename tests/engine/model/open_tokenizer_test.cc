// Added tokens and the other files beside a vocabulary.
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/log.h"
#include "engine/model/text_stream.h"
#include "engine/model/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"
#include "tests/support/token_limits.h"

namespace skipstone {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr int kPieces = 2048;  // of the demo model

class TokenizerFilesTest : public testing::Test {
 protected:
  TokenizerFilesTest() {
    dir_.Write("tokenizer.model", ReadTestFile(SourcePath("models/demo/tokenizer.model")));
  }
  void Write(const std::string& name, const json& value) { dir_.Write(name, value.dump()); }
  std::unique_ptr<Tokenizer> Open() {
    auto tokenizer = OpenTokenizer(dir_.path(), 1);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return *std::move(tokenizer);
  }
  std::string Error() {
    const auto tokenizer = OpenTokenizer(dir_.path(), 1);
    EXPECT_TRUE(absl::IsInvalidArgument(tokenizer.status())) << tokenizer.status();
    return std::string(tokenizer.status().message());
  }
  TempDir dir_;
};

json Token(const std::string& content, bool special = false) {
  return {{"content", content}, {"special", special}, {"normalized", false}};
}

TEST_F(TokenizerFilesTest, EncodesAddedTokensAsTheReferenceImplementation) {
  const json groups =
      json::parse(ReadTestFile(SourcePath("tests/engine/model/added_token_cases.json")));
  ASSERT_EQ(groups.size(), 2);
  for (const json& group : groups) {
    Write("tokenizer_config.json", group.at("tokenizer_config"));
    const auto tokenizer = Open();
    for (const json& item : group.at("cases")) {
      const auto text = item[0].get<std::string>();
      const auto ids = tokenizer->Encode(text);
      EXPECT_EQ(*ids, item[1].get<Ids>()) << testing::PrintToString(text);
      EXPECT_EQ(tokenizer->Decode(*ids), item[2].get<std::string>());
    }
  }
}

// Blanks and parts of tokens are what decides where tokens are found.
std::string RandomText(std::mt19937& random) {
  static const char* const kParts[] = {" ",    "  ",  "\n",    "\u3000", "<a>",       "<a><",
                                       "<b>",  "<c>", "<<a>>", "aa",     "a",         "b>",
                                       "<|im", "the", "LORD",  "God",    "\u6211",    "\u2581",
                                       "eee",  "\t",  "</s>",  "And ",   "<|im_end|>"};
  std::string text;
  for (unsigned i = random() % 20; i > 0; --i) text += kParts[random() % std::size(kParts)];
  return text;
}

TEST_F(TokenizerFilesTest, KeepsToALimitOfTokensWhateverIsAdded) {
  const std::string demo = ReadTestFile(SourcePath("models/demo/tokenizer.model"));
  // Behind it: extra blanks removed; the pieces "<|im" and "a<" defined by the user.
  const std::string removes = "\x1A\x02\x20\x01";
  const std::string defines =
      "\x0A\x08\x0A\x04<|im\x18\x04\x0A\x06\x0A\x02"
      "a<\x18\x04";
  const std::vector<std::string> contents = {"<a>", "<b>", "<c>", "aa", "<|im_end|>", "<a>< "};
  std::mt19937 random(3);
  for (int round = 0; round < 60 && !HasFatalFailure(); ++round) {
    dir_.Write("tokenizer.model",
               demo + (round % 2 == 0 ? removes : "") + (round % 3 == 0 ? defines : ""));
    json tokens = json::object();
    const int first = kPieces + (round % 3 == 0 ? 2 : 0);
    for (size_t i = 0; i < contents.size(); ++i) {
      tokens[std::to_string(first + i)] = {{"content", contents[i]},
                                           {"lstrip", random() % 2 == 0},
                                           {"rstrip", random() % 2 == 0},
                                           {"normalized", random() % 2 == 0},
                                           {"special", random() % 2 == 0}};
    }
    Write("tokenizer_config.json",
          {{"added_tokens_decoder", tokens}, {"legacy", random() % 2 == 0}});
    const auto tokenizer = Open();
    for (int i = 0; i < 200 && !HasFatalFailure(); ++i) {
      CheckTokenLimits(*tokenizer, RandomText(random), random);
    }
  }
}

TEST_F(TokenizerFilesTest, RefusesNoTextForBlanksThatAreRemoved) {
  dir_.Write("tokenizer.model",
             ReadTestFile(SourcePath("models/demo/tokenizer.model")) + "\x1A\x02\x20\x01");
  Write("tokenizer_config.json",
        {{"added_tokens_decoder",
          {{"2048", {{"content", "<p>"}, {"lstrip", true}, {"rstrip", true}}}}}});
  const auto tokenizer = Open();
  const std::string blanks(100000, ' ');
  EXPECT_THAT(*tokenizer->Encode("And" + blanks, {.tokens = 1}), ElementsAre(300));
  EXPECT_THAT(*tokenizer->Encode("And" + blanks + "<p>" + blanks + "And", {.tokens = 3}),
              ElementsAre(300, 2048, 300));
}

TEST_F(TokenizerFilesTest, AChatOfAddedTokensKeepsToALimitOfTokens) {
  Write("tokenizer_config.json",
        {{"added_tokens_decoder", {{"2048", Token("<|im_end|>", true)}, {"2049", Token("<p>")}}}});
  const auto tokenizer = Open();
  const std::vector<ChatTurn> turns = {
      {"user", "<p>a<|im_end|>"}, {"assistant", "b<p><p>"}, {"user", "c <p>"}};
  const Ids whole = *tokenizer->EncodeChat(turns, 2);
  for (size_t limit = 0; limit <= whole.size() + 1; ++limit) {
    EXPECT_EQ(tokenizer->EncodeChat(turns, 2, {.tokens = limit}).ok(), limit >= whole.size());
    const auto kept = static_cast<std::ptrdiff_t>(std::min(limit, whole.size()));
    EXPECT_EQ(*tokenizer->EncodeChat(turns, 2, {.tokens = limit, .keep_last = true}),
              Ids(whole.end() - kept, whole.end()));
  }
}

TEST_F(TokenizerFilesTest, ReadsAddedTokensOfEveryFile) {
  const json ids = {{"<|im_start|>", kPieces}, {"<|im_end|>", kPieces + 1}};
  const std::vector<std::pair<std::string, json>> files = {
      {"added_tokens.json", ids},
      {"tokenizer_config.json",
       {{"added_tokens_decoder",
         {{"2048", Token("<|im_start|>")}, {"2049", Token("<|im_end|>")}}}}},
      {"tokenizer.json",
       {{"added_tokens",
         {{{"id", 2048}, {"content", "<|im_start|>"}},
          {{"id", 2049}, {"content", "<|im_end|>"}}}}}},
  };
  for (const auto& [name, value] : files) {
    Write(name, value);
    const auto tokenizer = Open();
    EXPECT_EQ(tokenizer->vocab_size(), kPieces + 2);
    // Each part has the vocabulary's blank: _us er \n, H ell o, then _ \n
    EXPECT_EQ(tokenizer->Encode("<|im_start|>user\nHello<|im_end|>\n")->size(), 10) << name;
    EXPECT_EQ(tokenizer->Piece(2049), "<|im_end|>");
    EXPECT_EQ(tokenizer->TokenBytes(2049), "<|im_end|>");
    EXPECT_EQ(tokenizer->Piece(2050), "");
    std::filesystem::remove(dir_.path() + "/" + name);
  }
}

TEST_F(TokenizerFilesTest, TakesTheFirstFilesFlagsWhereSeveralNameAToken) {
  Write("added_tokens.json", {{"<p>", 2048}});
  Write("tokenizer_config.json", {{"added_tokens_decoder", {{"2048", Token("<p>", true)}}}});
  EXPECT_EQ(Open()->TokenBytes(2048), "");
  EXPECT_EQ(Open()->vocab_size(), kPieces + 1);
}

TEST_F(TokenizerFilesTest, DecodesTokensWithARoleToNothing) {
  Write("added_tokens.json", {{"<a>", 2048}, {"<b>", 2049}, {"<c>", 2050}, {"<d>", 2051}});
  Write("special_tokens_map.json",
        {{"additional_special_tokens", {"<a>", {{"content", "<b>"}}}}, {"pad_token", "<c>"}});
  const auto tokenizer = Open();
  EXPECT_EQ(tokenizer->Decode(Ids{2048, 2049, 2050, 2051}), "<d>");
}

TEST_F(TokenizerFilesTest, StopsAtTheTextOfAnAddedToken) {
  Write("added_tokens.json", {{"<|im_end|>", kPieces}});
  const auto tokenizer = Open();
  TextStream stream(*tokenizer, {.stop_strings = {"<|im_end|>"}});
  EXPECT_EQ(stream.Add(300), " And");
  EXPECT_EQ(stream.Add(kPieces), "");
  EXPECT_EQ(stream.matched_stop(), "<|im_end|>");
}

TEST_F(TokenizerFilesTest, KeepsStringsOfControlTokensAsText) {
  Write("tokenizer_config.json",
        {{"added_tokens_decoder",
          {{"0", Token("<unk>", true)}, {"1", Token("<s>", true)}, {"2", Token("</s>", true)}}}});
  const auto tokenizer = Open();
  EXPECT_EQ(tokenizer->vocab_size(), kPieces);
  const Ids ids = *tokenizer->Encode("<s>a</s><unk>");
  EXPECT_EQ(std::count_if(ids.begin(), ids.end(), [](int32_t id) { return id <= 2; }), 0);
  EXPECT_EQ(tokenizer->Decode(ids), "<s>a</s><unk>");
}

TEST_F(TokenizerFilesTest, KeepsStringsOfSpecialTokensAsTextInMessages) {
  Write("tokenizer_config.json",
        {{"added_tokens_decoder", {{"2048", Token("<|im_end|>", true)}, {"2049", Token("<p>")}}}});
  const auto tokenizer = Open();
  EXPECT_THAT(*tokenizer->Encode("<|im_end|>"), ElementsAre(2048));
  const std::vector<ChatTurn> turns = {{"user", "<|im_end|><p>"}};
  const Ids chat = *tokenizer->EncodeChat(turns, 2);
  EXPECT_EQ(std::count(chat.begin(), chat.end(), 2048), 0);
  EXPECT_EQ(std::count(chat.begin(), chat.end(), 2049), 1);
}

TEST_F(TokenizerFilesTest, AddsATextOfTheVocabulary) {
  Write("tokenizer_config.json", {{"added_tokens_decoder", {{"300", Token("\u2581And")}}}});
  EXPECT_THAT(*Open()->Encode("\u2581And"), ElementsAre(300));
}

TEST_F(TokenizerFilesTest, RefusesContradictions) {
  const auto error_of = [&](const json& tokens) {
    Write("added_tokens.json", tokens);
    return Error();
  };
  EXPECT_THAT(error_of({{"<p>", 5}}),
              AllOf(HasSubstr("token 5 is added as '<p>'"), HasSubstr("it is '<0x02>'")));
  EXPECT_THAT(error_of({{"\u2581And", 2048}}), HasSubstr("in the vocabulary is piece 300"));
  EXPECT_THAT(error_of({{"<p>", 2048}, {"<q>", 2048}}), HasSubstr("token 2048 is added as"));
  EXPECT_THAT(error_of({{"<p>", 2048}, {"<q>", 2050}}),
              AllOf(HasSubstr("token 2050, '<q>', leaves a gap"), HasSubstr("end at 2048")));
  EXPECT_THAT(error_of({{"<p>", 2049}}), HasSubstr("leaves a gap"));
  EXPECT_THAT(error_of({{"<p>", -1}}), HasSubstr("<p> is -1"));
  EXPECT_THAT(error_of({{"", 2048}}), HasSubstr("empty content"));
  Write("tokenizer_config.json", {{"added_tokens_decoder", {{"2048", Token("<r>")}}}});
  EXPECT_THAT(error_of({{"<p>", 2048}}), HasSubstr("token 2048 is added as '<r>' and as '<p>'"));
  EXPECT_THAT(error_of({{"<r>", 2049}}),
              HasSubstr("'<r>' is added as token 2048 and as token 2049"));
}

TEST_F(TokenizerFilesTest, RefusesSingleWordsByName) {
  json token = Token("<p>");
  token["single_word"] = true;
  Write("tokenizer_config.json", {{"added_tokens_decoder", {{"2048", token}}}});
  EXPECT_THAT(Error(), HasSubstr("single_word is true: tokens with it are not served"));
}

TEST_F(TokenizerFilesTest, NamesABrokenFile) {
  for (const char* name : {"added_tokens.json", "tokenizer_config.json", "special_tokens_map.json",
                           "tokenizer.json"}) {
    dir_.Write(name, "{");
    EXPECT_THAT(Error(), AllOf(HasSubstr(name), HasSubstr("is not JSON")));
    std::filesystem::remove(dir_.path() + "/" + name);
  }
  Write("tokenizer_config.json", {{"added_tokens_decoder", {{"x", Token("<p>")}}}});
  EXPECT_THAT(Error(), HasSubstr("ids from 0 to"));
  Write("tokenizer_config.json", {{"eos_token", 2}});
  EXPECT_THAT(Error(), HasSubstr("eos_token is 2"));
}

TEST_F(TokenizerFilesTest, PutsTheBlankWhereTheFilesSay) {
  Write("added_tokens.json", {{"<p>", 2048}});
  const auto encode = [&](const std::string& text) { return *Open()->Encode(text); };
  const Ids blank = {2048, 300};
  EXPECT_EQ(encode("<p>And"), blank);
  Write("tokenizer_config.json", {{"legacy", false}});
  EXPECT_NE(encode("<p>And"), blank);
  EXPECT_EQ(encode("And"), (Ids{300}));
  Write("tokenizer_config.json", {{"legacy", false}, {"add_prefix_space", false}});
  EXPECT_NE(encode("And"), (Ids{300}));
  EXPECT_EQ(Open()->Decode(Ids{300}), " And");
  // A tokenizer.json beside it knows too, but says less than the key.
  const json metaspace = {{"pre_tokenizer", {{"type", "Metaspace"}, {"prepend_scheme", "first"}}}};
  Write("tokenizer.json", metaspace);
  Write("tokenizer_config.json", json::object());
  EXPECT_NE(encode("<p>And"), blank);
  Write("tokenizer_config.json", {{"legacy", true}});
  EXPECT_EQ(encode("<p>And"), blank);
}

TEST_F(TokenizerFilesTest, KnowsTheEndOfSequenceToken) {
  EXPECT_EQ(Open()->eos_id(), std::nullopt);
  EXPECT_EQ(Open()->chat_eos_id(), 2) << "the vocabulary's own";
  Write("added_tokens.json", {{"<|im_end|>", 2048}});
  Write("special_tokens_map.json", {{"eos_token", {{"content", "<|im_end|>"}}}});
  EXPECT_EQ(Open()->eos_id(), 2048);
  Write("tokenizer_config.json", {{"eos_token", "</s>"}});
  EXPECT_EQ(Open()->eos_id(), 2);
  Write("tokenizer_config.json", {{"eos_token", "<end>"}});
  EXPECT_THAT(Error(), HasSubstr("eos_token is '<end>', which is no token"));
}

TEST_F(TokenizerFilesTest, EndsTurnsWithItsOwnTokenAndBeginsThemWithTheModels) {
  Write("tokenizer_config.json", {{"add_bos_token", false}});
  const auto tokenizer = Open();
  EXPECT_EQ(tokenizer->bos_id(), std::nullopt);
  const std::vector<ChatTurn> turns = {{"user", "a"}, {"assistant", "b"}, {"user", "c"}};
  const Ids ids = *tokenizer->EncodeChat(turns, 13);  // generation_config's eos_token_id [13, 2]
  EXPECT_EQ(ids.front(), 1);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 1), 2);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 1);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 13), 0);
}

TEST_F(TokenizerFilesTest, RefusesChatsOfAnotherTemplateByName) {
  const std::string chatml = "{% for message in messages %}<|im_start|>{% endfor %}";
  const std::vector<ChatTurn> turns = {{"user", "a"}};
  const auto refusal = [&] {
    const auto tokenizer = Open();
    EXPECT_TRUE(tokenizer->CheckText().ok());
    EXPECT_TRUE(tokenizer->Encode("a").ok());
    const absl::Status status = tokenizer->EncodeChat(turns, 2).status();
    EXPECT_EQ(status, tokenizer->CheckChat());
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    return std::string(status.message());
  };
  Write("tokenizer_config.json", {{"chat_template", chatml}});
  EXPECT_THAT(refusal(), AllOf(HasSubstr("tokenizer_config.json is not Llama 2's"),
                               HasSubstr("It begins: {% for message in messages")));
  Write(
      "tokenizer_config.json",
      {{"chat_template",
        {{{"name", "tool_use"}, {"template", "x"}}, {{"name", "default"}, {"template", chatml}}}}});
  EXPECT_THAT(refusal(), HasSubstr("It begins: {% for"));
  dir_.Write("chat_template.jinja", "{{ 'my own' }}");
  EXPECT_THAT(refusal(), HasSubstr("chat_template.jinja is not Llama 2's"));
}

TEST_F(TokenizerFilesTest, SaysThatAnEndBehindTextsIsLeftOut) {
  Write("tokenizer_config.json", {{"add_eos_token", true}});
  std::vector<std::string> logged;
  SetLogSink([&](LogSeverity, const std::string& message) { logged.push_back(message); });
  EXPECT_EQ(*Open()->Encode("the"), (Ids{261}));
  SetLogSink(nullptr);
  EXPECT_THAT(logged, ElementsAre(HasSubstr("that add_eos_token puts behind a text is left out")));
  Write("tokenizer_config.json", {{"add_eos_token", "yes"}});
  EXPECT_THAT(Error(), HasSubstr("add_eos_token"));
}

TEST_F(TokenizerFilesTest, NamesWhatIsMissing) {
  std::filesystem::remove(dir_.path() + "/tokenizer.model");
  const auto tokenizer = OpenTokenizer(dir_.path(), 1);
  EXPECT_TRUE(absl::IsNotFound(tokenizer.status()));
  EXPECT_THAT(std::string(tokenizer.status().message()),
              AllOf(HasSubstr("/tokenizer.model"), HasSubstr("tokenizer.json")));
}

TEST(PaddingTest, TakesMissingIdsThatRoundAVocabulary) {
  const auto padding = [](int tokens, int vocab) {
    return PaddingIds(*MakeSyntheticTokenizer(tokens), vocab);
  };
  EXPECT_EQ(*padding(32000, 32000), 0);
  EXPECT_EQ(*padding(32001, 32064), 63);
  EXPECT_EQ(*padding(32011, 32064), 53);
  EXPECT_EQ(*padding(32001, 32008), 7);
  EXPECT_EQ(*padding(32001, 32128), 127);
  EXPECT_EQ(*padding(32022, 32256), 234);
  for (const auto& [tokens, vocab] :
       {std::pair(32000, 49152), {2048, 2051}, {32000, 32001}, {32000, 32008}, {32000, 32512}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(padding(tokens, vocab).status())) << tokens << " " << vocab;
  }
  EXPECT_THAT(std::string(padding(32000, 49152).status().message()),
              AllOf(HasSubstr("32000 pieces"), HasSubstr("vocab_size of 49152"),
                    HasSubstr("17152 ids from 32000 on")));
  EXPECT_THAT(std::string(padding(5, 4).status().message()),
              HasSubstr("the tokenizer has 5 pieces, config.json a vocab_size of 4"));
  EXPECT_EQ(*PaddingIds(*MakeIdsOnlyTokenizer(0, std::nullopt, absl::OkStatus()), 100), 0);
}

}  // namespace
}  // namespace skipstone
