#include "tools/calibrate/texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

namespace skipstone::calibrate {
namespace {

Text Counting(int tokens, int first = 0) {
  Text text{"counting", std::vector<int32_t>(tokens)};
  std::iota(text.ids.begin(), text.ids.end(), first);
  return text;
}

TEST(WindowsTest, AreSpreadOverTheTextsInTurn) {
  const std::vector<Text> texts = {Counting(1000), Counting(500, 5000)};
  const auto windows = WindowsOf(texts, 6, 50, std::nullopt, 1).value();
  ASSERT_EQ(windows.size(), 6);
  std::set<int32_t> begins;
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(windows[i].size(), 50);
    EXPECT_EQ(windows[i][0] >= 5000, i % 2 == 1) << i;
    EXPECT_EQ(windows[i][49], windows[i][0] + 49);
    begins.insert(windows[i][0]);
  }
  EXPECT_EQ(begins.size(), 6);
  EXPECT_EQ(WindowsOf(texts, 6, 50, std::nullopt, 1).value(), windows);
  EXPECT_NE(WindowsOf(texts, 6, 50, std::nullopt, 2).value(), windows);
}

TEST(WindowsTest, BeginWithTheBos) {
  const auto windows = WindowsOf({Counting(100, 10)}, 3, 20, 1, 0).value();
  for (const auto& window : windows) {
    EXPECT_EQ(window.size(), 20);
    EXPECT_EQ(window[0], 1);
    EXPECT_EQ(window[2], window[1] + 1);
  }
}

TEST(WindowsTest, AShortTextIsRefusedByName) {
  EXPECT_TRUE(WindowsOf({Counting(20)}, 4, 20, std::nullopt, 1).ok());
  const auto windows = WindowsOf({Counting(19)}, 4, 20, std::nullopt, 1);
  EXPECT_EQ(windows.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(windows.status().message()), testing::HasSubstr("counting has 19"));
}

TEST(SplitTailTest, HeldOutTextIsNotInTheRest) {
  std::vector<Text> texts = {Counting(100)};
  const std::vector<Text> tails = SplitTail(texts, 0.25);
  EXPECT_EQ(texts[0].ids.size(), 75);
  EXPECT_EQ(tails[0].ids.front(), 75);
  EXPECT_EQ(tails[0].ids.size(), 25);
}

class FilesTest : public testing::Test {
 protected:
  FilesTest() { tokenizer_ = OpenTokenizer(SourceDir() + "/models/demo", std::nullopt).value(); }

  ItemRules Rules(int tokens = 64, std::optional<int32_t> bos = std::nullopt) const {
    return {.tokenizer = *tokenizer_, .vocab = 1000, .tokens = tokens, .bos = bos};
  }
  std::string LastWordsError(const std::string& lines) {
    const auto items = LastWordItems(dir_.Write("items.jsonl", lines), 10, Rules());
    EXPECT_FALSE(items.ok()) << lines;
    return std::string(items.status().message());
  }

  TempDir dir_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_F(FilesTest, BadTextsNameFlagAndFile) {
  for (const auto& [name, text] :
       {std::pair("bad.txt", ""), {"bad.txt", "\xff\xfe"}, {"bad.ids", "1 1000"}}) {
    const auto texts = ReadTexts("--text", {dir_.Write(name, text)}, *tokenizer_, 1000);
    ASSERT_FALSE(texts.ok()) << text;
    EXPECT_THAT(std::string(texts.status().message()),
                testing::AllOf(testing::HasSubstr("--text"), testing::HasSubstr(name)));
  }
  EXPECT_EQ(ReadTexts("--text", {"/nowhere/a.txt"}, *tokenizer_, 1000).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(FilesTest, TakesTokenIds) {
  const auto texts = ReadTexts("--text", {dir_.Write("a.ids", "1 2,3\n 999")}, *tokenizer_, 1000);
  EXPECT_THAT(texts.value()[0].ids, testing::ElementsAre(1, 2, 3, 999));
  const auto items = LastWordItems(
      dir_.Write("ids.jsonl", R"({"context": [4, 5], "continuation": [6]})"), 10, Rules(64, 1));
  EXPECT_THAT(items.value()[0].tokens, testing::ElementsAre(1, 4, 5, 6));
}

TEST_F(FilesTest, LastWordsAreCutFromTheLeft) {
  std::string context;
  for (int i = 0; i < 100; ++i) context += "and the Lord said ";
  const std::string line = R"({"context": ")" + context + R"(unto", "continuation": " Moses"})";
  const auto items =
      LastWordItems(dir_.Write("items.jsonl", line + "\n" + line), 1, Rules(32)).value();
  ASSERT_EQ(items.size(), 1);
  EXPECT_EQ(items[0].tokens.size(), 32);
  // As the whole text is tokenised: the blank belongs to the word.
  EXPECT_EQ(
      tokenizer_->Decode(items[0].tokens).substr(tokenizer_->Decode(items[0].tokens).size() - 10),
      "unto Moses");
  EXPECT_EQ(
      tokenizer_->Decode({items[0].tokens.data(), 32u - items[0].answer})
          .substr(tokenizer_->Decode({items[0].tokens.data(), 32u - items[0].answer}).size() - 4),
      "unto");
}

TEST_F(FilesTest, ChoicesFollowTheirQuestion) {
  const auto task =
      ChoiceItems(dir_.Write("c.jsonl",
                             R"({"query": "Who said?", "choices": ["Moses", "Aaron"], "gold": 1})"),
                  10, Rules())
          .value();
  ASSERT_EQ(task.answers.size(), 2);
  EXPECT_EQ(tokenizer_->Decode(task.answers[1].tokens), "Who said?\nAnswer: Aaron");
  const std::string line =
      R"({"query": [1], "choices": [[2], [1000]], "characters": [1, 1], "gold": 0})";
  EXPECT_THAT(std::string(ChoiceItems(dir_.Write("d.jsonl", line), 10, Rules()).status().message()),
              testing::HasSubstr("--choices line 1: 1000"));
}

TEST_F(FilesTest, BadItemsNameTheLine) {
  const std::string good = R"({"context": "In the beginning", "continuation": "God"})";
  EXPECT_THAT(LastWordsError(good + "\n{\n"), testing::HasSubstr("--last_words line 2"));
  EXPECT_THAT(LastWordsError(R"({"context": "", "continuation": "a"})"),
              testing::HasSubstr("at least one"));
  EXPECT_THAT(LastWordsError(R"({"context": [1000], "continuation": [1]})"),
              testing::HasSubstr("1000"));
}

}  // namespace
}  // namespace skipstone::calibrate
