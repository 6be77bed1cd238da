#include "engine/model/tokenizer_json.h"

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/utf8.h"
#include "engine/model/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"
#include "tests/support/token_limits.h"
#include "tests/support/tokenizer_json.h"

namespace skipstone {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

const SentencePieceModel& DemoModel() {
  static const SentencePieceModel* const model = [] {
    std::string error;
    auto parsed =
        SentencePieceModel::Parse(ReadTestFile(SourcePath("models/demo/tokenizer.model")), &error);
    EXPECT_NE(parsed, nullptr) << error;
    return parsed.release();
  }();
  return *model;
}

json DemoJson() {
  static const json* const file = new json(TokenizerJsonOf(DemoModel()));
  return *file;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Open(const json& file) {
  const TempDir dir;
  dir.Write("tokenizer.json", file.dump());
  return OpenTokenizer(dir.path(), 1);
}

std::unique_ptr<Tokenizer> Opened(const json& file) {
  auto tokenizer = Open(file);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_TRUE((*tokenizer)->CheckText().ok()) << (*tokenizer)->CheckText();
  return *std::move(tokenizer);
}

std::string WhyIdsOnly(const json& file) {
  const auto tokenizer = Open(file);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return std::string((*tokenizer)->CheckText().message());
}

std::string RandomText(std::mt19937& random, const Tokenizer& pieces) {
  static const char* const kParts[] = {
      " ",    "  ",  "\n",         "\t",     "\u00E9", "aaa",  "\u2581", "\u6211",
      "\x01", "the", "\U0001F642", "<0x0A>", "<s>",    "</s>", "\uFFFD", " And the LORD"};
  std::string text;
  for (unsigned i = random() % 12; i > 0; --i) {
    text += random() % 2 == 0 ? kParts[random() % std::size(kParts)]
                              : pieces.TokenBytes(static_cast<int>(random() % pieces.vocab_size()));
  }
  return ReplaceInvalidUtf8(text);
}

// Both give the same ids and texts, on any text and any ids.
void Compare(const Tokenizer& json_file, const Tokenizer& model_file, int texts) {
  ASSERT_EQ(json_file.vocab_size(), model_file.vocab_size());
  std::mt19937 random(5);
  for (int id = -1; id <= model_file.vocab_size(); ++id) {
    ASSERT_EQ(json_file.Piece(id), model_file.Piece(id));
    ASSERT_EQ(json_file.TokenBytes(id), model_file.TokenBytes(id)) << id;
  }
  for (int i = 0; i < texts; ++i) {
    const std::string text = RandomText(random, model_file);
    const auto ids = json_file.Encode(text);
    ASSERT_EQ(*ids, *model_file.Encode(text)) << testing::PrintToString(text);
    ASSERT_EQ(json_file.Decode(*ids), model_file.Decode(*ids));
    if (i % 16 == 0) CheckTokenLimits(json_file, text, random);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(TokenizerJsonTest, EqualsTheTokenizerModelInEitherForm) {
  const auto model_file = OpenTokenizer(SourcePath("models/demo"), 1);
  Compare(*Opened(DemoJson()), **model_file, 100000);
  for (const char* scheme : {"first", "always"}) {
    json file = DemoJson();
    UseMetaspace(scheme, &file);
    Compare(*Opened(file), **model_file, 5000);
  }
}

TEST(TokenizerJsonTest, EqualsLlama2sTokenizerModel) {
  const std::string dir = SharedDataPath("llama2-tokenizer");
  if (dir.empty()) GTEST_SKIP() << "no Llama 2 tokenizer beside the source tree";
  const TempDir json_only;
  json_only.Write("tokenizer.json", ReadTestFile(dir + "/tokenizer.json"));
  const auto json_file = OpenTokenizer(json_only.path(), 1);
  ASSERT_TRUE(json_file.ok()) << json_file.status();
  Compare(**json_file, **OpenTokenizer(dir, 1), 100000);
}

TEST(TokenizerJsonTest, ReadsBothNotationsOfMerges) {
  json file = DemoJson();
  for (json& merge : file["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    const size_t blank = text.find(' ');
    merge = {text.substr(0, blank), text.substr(blank + 1)};
  }
  Compare(*Opened(file), **OpenTokenizer(SourcePath("models/demo"), 1), 1000);
}

TEST(TokenizerJsonTest, MergesOnlyWhatIsListedAndInItsOrder) {
  json file = DemoJson();
  file["model"]["merges"] = json::array();
  const auto spelled = Opened(file);
  const Ids letters = *spelled->Encode("the LORD");
  for (const int32_t id : letters) EXPECT_EQ(spelled->TokenBytes(id).size(), 1);
  const auto pieces_of = [&](const json& merges, const std::string& text) {
    file["model"]["merges"] = merges;
    const auto tokenizer = Opened(file);
    const Ids ids = *tokenizer->Encode(text);
    std::vector<std::string> pieces;
    for (const int32_t id : ids) pieces.push_back(tokenizer->Piece(id));
    return pieces;
  };
  EXPECT_THAT(pieces_of({"t h", "\u2581 t"}, "the"), ElementsAre("\u2581", "th", "e"));
  EXPECT_THAT(pieces_of({"\u2581 t", "t h"}, "the"), ElementsAre("\u2581t", "h", "e"));
  EXPECT_THAT(pieces_of({"t h", "\u2581 th"}, "the"), ElementsAre("\u2581th", "e"));
  file["model"]["ignore_merges"] = true;
  EXPECT_EQ(*Opened(file)->Encode("the"), (Ids{261}));  // a piece as a whole
  EXPECT_GT(Opened(file)->Encode("the the")->size(), 2);
  file["pre_tokenizer"] = {{"type", "Metaspace"}, {"split", true}};
  file["normalizer"] = nullptr;
  EXPECT_EQ(*Opened(file)->Encode("the the"), (Ids{261, 261}));
}

TEST(TokenizerJsonTest, HonoursThePlaceOfTheBlank) {
  json file = DemoJson();
  file["added_tokens"].push_back({{"id", 2048}, {"content", "<p>"}, {"special", false}});
  const Ids blank = *Opened(file)->Encode("the");
  ASSERT_EQ(blank, (Ids{261}));
  const auto encode = [&](const char* scheme, const char* text) {
    json form = file;
    UseMetaspace(scheme, &form);
    return *Opened(form)->Encode(text);
  };
  const Ids bare = encode("never", "the");
  EXPECT_NE(bare, blank);
  EXPECT_EQ(encode("first", "the"), blank);
  EXPECT_EQ(encode("always", "the"), blank);
  const auto behind = [](Ids ids) { return Ids(ids.begin() + 1, ids.end()); };
  EXPECT_EQ(behind(encode("always", "<p>the")), blank);
  EXPECT_EQ(behind(encode("first", "<p>the")), bare);
  EXPECT_EQ(behind(encode("never", "<p>the")), bare);
  EXPECT_EQ(behind(*Opened(file)->Encode("<p>the")), blank) << "the normaliser's form";
}

TEST(TokenizerJsonTest, ReadsTheOldMetaspaceAndDropsNoBlankWithoutStrip) {
  json file = DemoJson();
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = {{"type", "Metaspace"},
                           {"replacement", "\u2581"},
                           {"str_rep", "\u2581"},
                           {"add_prefix_space", false},
                           {"split", false}};
  file["decoder"]["decoders"].erase(3);
  const auto tokenizer = Opened(file);
  EXPECT_EQ(*tokenizer->Encode(" the"), (Ids{261}));
  EXPECT_EQ(tokenizer->Decode(Ids{261}), " the");
}

TEST(TokenizerJsonTest, FollowsThePostProcessor) {
  json file = DemoJson();
  EXPECT_EQ(Opened(file)->bos_id(), 1);
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const json begin = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  file["post_processor"] = {{"type", "TemplateProcessing"}, {"single", json::array({text})}};
  EXPECT_EQ(Opened(file)->bos_id(), std::nullopt);
  file["post_processor"]["single"] = json::array({begin, text});
  EXPECT_EQ(Opened(file)->bos_id(), 1);
  const json bos_template = file["post_processor"];
  const json end = {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}};
  file["post_processor"]["single"] = json::array({end, text});
  EXPECT_EQ(Opened(file)->bos_id(), 2) << "what it names, whatever config.json does";
  file["post_processor"]["single"] = json::array({begin, begin, text});
  EXPECT_THAT(WhyIdsOnly(file), HasSubstr("several tokens before a text"));
  file["post_processor"] = {{"type", "Sequence"},
                            {"processors", {{{"type", "ByteLevel"}}, bos_template}}};
  EXPECT_EQ(Opened(file)->bos_id(), 1);
  file["post_processor"] = {{"type", "BertProcessing"}, {"sep", {"</s>", 2}}, {"cls", {"<s>", 1}}};
  EXPECT_THAT(WhyIdsOnly(file), HasSubstr("post_processor is BertProcessing"));
}

TEST(TokenizerJsonTest, SaysThatATokenBehindATextIsLeftOut) {
  json file = DemoJson();
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const json end = {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}};
  file["post_processor"] = {{"type", "TemplateProcessing"}, {"single", json::array({text, end})}};
  std::vector<std::string> logged;
  SetLogSink([&](LogSeverity, const std::string& message) { logged.push_back(message); });
  EXPECT_EQ(Opened(file)->bos_id(), std::nullopt);
  SetLogSink(nullptr);
  EXPECT_THAT(logged, ElementsAre(HasSubstr("the post_processor of tokenizer.json puts behind")));
}

TEST(TokenizerJsonTest, FollowsTheDecodersOwnMetaspace) {
  json file = DemoJson();
  file["decoder"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "never"}};
  EXPECT_EQ(Opened(file)->Decode(Ids{261}), " the");
  UseMetaspace("never", &file);
  file["decoder"]["prepend_scheme"] = "always";
  EXPECT_EQ(Opened(file)->Decode(Ids{261}), "the");
}

TEST(TokenizerJsonTest, TakesTheUnknownPieceWithoutByteFallback) {
  json file = DemoJson();
  file["model"]["byte_fallback"] = false;
  const Ids ids = *Opened(file)->Encode("a\u6211\u6211b");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 0), 1) << "side by side they are one";
}

TEST(TokenizerJsonTest, KeepsToALimitOfTokensInEveryForm) {
  json file = DemoJson();
  file["added_tokens"].push_back({{"id", 2048}, {"content", "<p>"}, {"rstrip", true}});
  UseMetaspace("first", &file);
  std::mt19937 random(9);
  for (int form = 0; form < 8; ++form) {
    file["model"]["byte_fallback"] = (form & 1) == 0;
    file["model"]["ignore_merges"] = (form & 2) == 0;
    file["pre_tokenizer"]["split"] = (form & 4) == 0;
    const auto tokenizer = Opened(file);
    for (int i = 0; i < 1000 && !testing::Test::HasFatalFailure(); ++i) {
      const std::string text = RandomText(random, *tokenizer) + (i % 2 == 0 ? "<p> " : "\u6211 ") +
                               RandomText(random, *tokenizer);
      CheckTokenLimits(*tokenizer, text, random);
    }
  }
}

TEST(TokenizerJsonTest, RefusesNoTextOfManyCharactersThatAreOneUnknownPiece) {
  json file = DemoJson();
  file["model"]["byte_fallback"] = false;
  const auto tokenizer = Opened(file);
  std::string unknown;
  for (int i = 0; i < 100000; ++i) unknown += i % 2 == 0 ? "\u6211" : "\u60F3";
  const Ids wanted = *tokenizer->Encode("a\u6211b");
  EXPECT_EQ(*tokenizer->Encode("a" + unknown + "b", {.tokens = wanted.size()}), wanted);
  EXPECT_EQ(*tokenizer->Encode("a" + unknown + "b", {.tokens = 2, .keep_last = true}),
            Ids(wanted.end() - 2, wanted.end()));
}

TEST(TokenizerJsonTest, ServesOtherFormsByIdsOnly) {
  const auto why = [](const std::string& path, const json& value) {
    json file = DemoJson();
    file[json::json_pointer(path)] = value;
    const auto tokenizer = Open(file);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    const Tokenizer& ids_only = **tokenizer;
    const absl::Status status = ids_only.CheckText();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("by token ids only"));
    EXPECT_EQ(ids_only.Encode("a").status(), status);
    EXPECT_EQ(ids_only.EncodeChat(std::vector<ChatTurn>{{"user", "a"}}, 2).status(), status);
    EXPECT_EQ(ids_only.Decode(Ids{300, 301}), "");
    EXPECT_EQ(ids_only.vocab_size(), path == "/model/vocab" ? 0 : 2048);
    return std::string(status.message());
  };
  EXPECT_THAT(why("/pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}),
              HasSubstr("its pre_tokenizer is ByteLevel"));
  EXPECT_THAT(why("/pre_tokenizer", {{"type", "Sequence"},
                                     {"pretokenizers", json::array({json{{"type", "Digits"}}})}}),
              HasSubstr("its pre_tokenizer is Digits"));
  EXPECT_THAT(why("/normalizer", {{"type", "NFC"}}), HasSubstr("its normalizer is NFC"));
  EXPECT_THAT(why("/normalizer", nullptr), HasSubstr("does not write blanks as U+2581"));
  EXPECT_THAT(why("/decoder", {{"type", "WordPiece"}}), HasSubstr("its decoder is WordPiece"));
  EXPECT_THAT(why("/model/type", "Unigram"), HasSubstr("its model's type is Unigram"));
  EXPECT_THAT(why("/model/dropout", 0.1), HasSubstr("dropout"));
  EXPECT_THAT(why("/model/end_of_word_suffix", "</w>"), HasSubstr("end_of_word_suffix '</w>'"));
}

TEST(TokenizerJsonTest, CountsTheTokensOfOtherForms) {
  json file = DemoJson();
  file["pre_tokenizer"] = {{"type", "ByteLevel"}};
  file["added_tokens"].push_back({{"id", 2050}, {"content", "<|end|>"}, {"special", true}});
  EXPECT_EQ((*Open(file))->vocab_size(), 2051);
  file["model"] = {{"type", "Unigram"}, {"vocab", json::array({json::array({"a", 0.0})})}};
  EXPECT_EQ((*Open(file))->vocab_size(), 0) << "unknown";
}

TEST(TokenizerJsonTest, NamesWhatIsBroken) {
  const auto error = [](const std::string& path, const json& value) {
    json file = DemoJson();
    file[json::json_pointer(path)] = value;
    const auto tokenizer = Open(file);
    EXPECT_TRUE(absl::IsInvalidArgument(tokenizer.status())) << tokenizer.status();
    return std::string(tokenizer.status().message());
  };
  EXPECT_THAT(error("/model", nullptr), HasSubstr("tokenizer.json: model is null"));
  EXPECT_THAT(error("/model/vocab/the", -1), HasSubstr("vocab: the is -1"));
  EXPECT_THAT(error("/model/vocab/zzzz", 5), HasSubstr("has this id too"));
  EXPECT_THAT(error("/model/vocab/zzzz", 4000), HasSubstr("an integer from 0 to 2048"));
  EXPECT_THAT(error("/model/merges/0", "a"), HasSubstr(R"(every item must be "a b")"));
  EXPECT_THAT(error("/model/merges/0", {"a", "b", "c"}), HasSubstr("merges"));
  EXPECT_THAT(error("/model/merges/0", "x qqqq"), HasSubstr("'qqqq' is no piece"));
  EXPECT_THAT(error("/added_tokens/0/content", 5), HasSubstr("added_tokens[0]: content is 5"));
  EXPECT_THAT(error("/added_tokens/0/id", 7), HasSubstr("token 7 is added as '<unk>'"));
  EXPECT_THAT(error("/normalizer", "NFC"), HasSubstr("normalizer"));
}

}  // namespace
}  // namespace skipstone
