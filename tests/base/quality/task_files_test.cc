#include "base/quality/task_files.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace skipstone::quality {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr size_t kAll = 1000;

class TaskFilesTest : public testing::Test {
 protected:
  auto Choices(const std::string& lines, size_t most = kAll) {
    return ReadChoices("--choices", dir_.Write("c", lines), most);
  }
  auto LastWords(const std::string& lines, size_t most = kAll) {
    return ReadLastWords("--last_words", dir_.Write("l", lines), most);
  }
  auto Prompts(const std::string& name, const std::string& lines) {
    return ReadPrompts("--prompts", dir_.Write(name, lines), kAll);
  }
  std::string ChoiceError(const std::string& line) {
    const auto items = Choices(R"({"query": "q", "choices": ["x", "y"], "gold": 0})"
                               "\n" +
                               line + "\n");
    EXPECT_EQ(items.status().code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(items.status().message()), HasSubstr("--choices line 2: ")) << line;
    return std::string(items.status().message());
  }

  TempDir dir_;
};

TEST_F(TaskFilesTest, ChoicesAreAskedAsTheHarnessAsks) {
  const auto items = Choices(
      "{\"query\": \"Question: a?\", \"choices\": [\"x\", \"y z\"], \"gold\": 1, \"id\": 7}\r\n"
      "\n{\"query\": \"\", \"choices\": [\"\u00e9e\u0301\"], \"gold\": 0}");
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 2);
  EXPECT_EQ((*items)[0].context, TextOrIds("Question: a?\nAnswer:"));
  EXPECT_THAT((*items)[0].choices, ElementsAre(TextOrIds(" x"), TextOrIds(" y z")));
  EXPECT_THAT((*items)[0].characters, ElementsAre(1, 3));
  EXPECT_EQ((*items)[0].gold, 1);
  EXPECT_EQ((*items)[1].line, 3);
  // Code points, not bytes.
  EXPECT_THAT((*items)[1].characters, ElementsAre(3));
}

TEST_F(TaskFilesTest, ItemsMayBeIds) {
  const auto choice =
      Choices(R"({"query": [4, 5], "choices": [[6], [7, 8]], "characters": [3, 9], "gold": 1})");
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ((*choice)[0].context, TextOrIds(Ids{4, 5}));
  EXPECT_THAT((*choice)[0].choices, ElementsAre(TextOrIds(Ids{6}), TextOrIds(Ids{7, 8})));
  EXPECT_THAT((*choice)[0].characters, ElementsAre(3, 9));
  const auto words = LastWords(R"({"context": [4], "continuation": [5]})");
  ASSERT_TRUE(words.ok()) << words.status();
  EXPECT_EQ((*words)[0].continuation, TextOrIds(Ids{5}));
  const auto prompts = Prompts("p.ids", "1 2\n\n3,4\n");
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  EXPECT_EQ((*prompts)[1].prompt, TextOrIds(Ids{3, 4}));
  EXPECT_EQ((*prompts)[1].line, 3);
  EXPECT_EQ(ReadTask("--text", dir_.Write("t.ids", "1 2,3\n 999")).value(),
            TextOrIds(Ids{1, 2, 3, 999}));
}

TEST_F(TaskFilesTest, ContinuationsStandBehindABlank) {
  const auto items = LastWords(
      "{\"context\": \"He said\", \"continuation\": \"yes\"}\n"
      "{\"context\": \"He said\", \"continuation\": \" no\"}\n");
  ASSERT_TRUE(items.ok()) << items.status();
  EXPECT_EQ((*items)[0].continuation, TextOrIds(" yes"));
  EXPECT_EQ((*items)[1].continuation, TextOrIds(" no"));
}

TEST_F(TaskFilesTest, TextsAndPromptsAreTakenAsTheyAre) {
  EXPECT_EQ(ReadTask("--text", dir_.Write("t", "some text\n")).value(), TextOrIds("some text\n"));
  const auto prompts = Prompts("p", "one\n  \n two \r\n");
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 2);
  EXPECT_EQ((*prompts)[1].prompt, TextOrIds(" two "));
  EXPECT_EQ((*prompts)[1].line, 3);
}

TEST_F(TaskFilesTest, NoMoreThanAskedFor) {
  // What is behind them need not even be right.
  const auto items = LastWords("{\"context\": \"a\", \"continuation\": \"b\"}\nwrong\n", 1);
  ASSERT_TRUE(items.ok()) << items.status();
  EXPECT_EQ(items->size(), 1);
}

TEST_F(TaskFilesTest, WrongItemsNameTheirLine) {
  EXPECT_THAT(ChoiceError(R"({"query": )"), HasSubstr("is not a JSON object"));
  EXPECT_THAT(ChoiceError("[1]"), HasSubstr("is not a JSON object"));
  EXPECT_THAT(ChoiceError(R"({"choices": ["x"], "gold": 0})"), HasSubstr("\"query\""));
  EXPECT_THAT(ChoiceError(R"({"query": 1, "choices": ["x"], "gold": 0})"), HasSubstr("\"query\""));
  EXPECT_THAT(ChoiceError(R"({"query": "q", "choices": [], "gold": 0})"), HasSubstr("\"choices\""));
  EXPECT_THAT(ChoiceError(R"({"query": "q", "choices": ["x", ""], "gold": 0})"),
              HasSubstr("choices[1] is empty"));
  EXPECT_THAT(ChoiceError(R"({"query": "q", "choices": ["x", 3], "gold": 0})"),
              HasSubstr("choices[1]"));
  EXPECT_THAT(ChoiceError(R"({"query": "q", "choices": ["x", [3]], "gold": 0})"),
              HasSubstr("texts beside token ids"));
  EXPECT_THAT(ChoiceError(R"({"query": [1], "choices": [[2], []], "gold": 0})"),
              HasSubstr("choices[1] is empty"));
  for (const char* gold : {"2", "-1", "0.5", "\"0\"", "99999999999999999999"}) {
    EXPECT_THAT(
        ChoiceError(std::string(R"({"query": "q", "choices": ["x", "y"], "gold": )") + gold + "}"),
        HasSubstr("from 0 to 1"));
  }
  for (const char* characters : {"[1]", "[1, 0]", "[1, 2.5]", "[1, \"2\"]", "3"}) {
    EXPECT_THAT(ChoiceError(R"({"query": [1], "choices": [[2], [3]], "gold": 0, "characters": )" +
                            std::string(characters) + "}"),
                HasSubstr("\"characters\""));
  }
  for (const char* ids : {"[-1]", "[1.5]", "[\"1\"]", "[4294967296]", "[[1]]", "{}"}) {
    EXPECT_THAT(ChoiceError(std::string(R"({"choices": [[2]], "gold": 0, "query": )") + ids + "}"),
                HasSubstr("\"query\""));
  }
}

TEST_F(TaskFilesTest, FilesWithoutItemsAreErrors) {
  for (const char* nothing : {" \n\n", ""}) {
    EXPECT_EQ(Choices(nothing).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(LastWords(nothing).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Prompts("p", nothing).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(ReadTask("--text", dir_.Write("t", "")).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Prompts("p.ids", ",\n").status().code(), absl::StatusCode::kInvalidArgument);
  const auto missing = ReadPrompts("--prompts", dir_.path() + "/none", kAll);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()),
              AllOf(HasSubstr("--prompts"), HasSubstr("/none")));
}

TEST_F(TaskFilesTest, WhatIsNoIdIsNamed) {
  for (const char* ids : {"1 -1", "1 x", "99999999999 1", "", " "}) {
    const auto bad = ReadTask("--text", dir_.Write("bad.ids", ids));
    ASSERT_FALSE(bad.ok()) << ids;
    EXPECT_THAT(std::string(bad.status().message()), HasSubstr("bad.ids"));
  }
}

TEST_F(TaskFilesTest, LastWordsThatAreEmptyAreErrors) {
  EXPECT_THAT(std::string(LastWords(R"({"context": "a", "continuation": ""})").status().message()),
              HasSubstr("--last_words line 1: \"continuation\" is empty"));
}

}  // namespace
}  // namespace skipstone::quality
