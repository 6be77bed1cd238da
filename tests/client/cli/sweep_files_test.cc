#include "client/cli/sweep_files.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr size_t kAll = 1000;

TEST(SweepFilesTest, ReadsEachKind) {
  const TempDir dir;
  const auto files = ReadSweepFiles(
      {.text = dir.Write("t", "some text\n"),
       .choices =
           dir.Write("c",
                     "{\"query\": \"Question: a?\", \"choices\": [\"x\", \"y z\"], \"gold\": "
                     "1, \"id\": 7}\r\n\n{\"query\": \"\", \"choices\": [\"\u00e9\"], "
                     "\"gold\": 0}"),
       .last_words = dir.Write("l",
                               "{\"context\": \"He said\", \"continuation\": \"yes\"}\n"
                               "{\"context\": \"He said\", \"continuation\": \" no\"}\n"),
       .prompts = dir.Write("p", "one\n  \n two \r\n")},
      kAll);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->text, "some text\n");
  ASSERT_EQ(files->choices.size(), 2);
  EXPECT_EQ(files->choices[0].query, "Question: a?");
  EXPECT_THAT(files->choices[0].choices, ElementsAre("x", "y z"));
  EXPECT_EQ(files->choices[0].gold, 1);
  EXPECT_EQ(files->choices[1].line, 3);
  ASSERT_EQ(files->last_words.size(), 2);
  EXPECT_EQ(files->last_words[0].continuation, " yes");
  EXPECT_EQ(files->last_words[1].continuation, " no");
  ASSERT_EQ(files->prompts.size(), 2);
  EXPECT_EQ(files->prompts[1].text, " two ");
  EXPECT_EQ(files->prompts[1].line, 3);
}

TEST(SweepFilesTest, NoMoreThanAskedFor) {
  const TempDir dir;
  // What is behind them need not even be right.
  const auto files = ReadSweepFiles(
      {.last_words = dir.Write("l", "{\"context\": \"a\", \"continuation\": \"b\"}\nwrong\n"),
       .prompts = dir.Write("p", "one\ntwo\nthree\n")},
      1);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->last_words.size(), 1);
  EXPECT_EQ(files->prompts.size(), 1);
}

TEST(SweepFilesTest, WrongItemsNameTheirLine) {
  const TempDir dir;
  const auto error = [&](const std::string& line) {
    const std::string good = "{\"query\": \"q\", \"choices\": [\"x\", \"y\"], \"gold\": 0}\n";
    const auto files = ReadSweepFiles({.choices = dir.Write("c", good + line + "\n")}, kAll);
    EXPECT_EQ(files.status().code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(files.status().message()), HasSubstr("--choices line 2: "));
    return std::string(files.status().message());
  };
  EXPECT_THAT(error("{\"query\": "), HasSubstr("is not a JSON object"));
  EXPECT_THAT(error("[1]"), HasSubstr("is not a JSON object"));
  EXPECT_THAT(error("{\"choices\": [\"x\"], \"gold\": 0}"), HasSubstr("\"query\""));
  EXPECT_THAT(error("{\"query\": 1, \"choices\": [\"x\"], \"gold\": 0}"), HasSubstr("\"query\""));
  EXPECT_THAT(error("{\"query\": \"q\", \"choices\": [], \"gold\": 0}"), HasSubstr("\"choices\""));
  EXPECT_THAT(error("{\"query\": \"q\", \"choices\": [\"x\", \"\"], \"gold\": 0}"),
              HasSubstr("choices[1] is empty"));
  EXPECT_THAT(error("{\"query\": \"q\", \"choices\": [\"x\", 3], \"gold\": 0}"),
              HasSubstr("choices[1]"));
  for (const char* gold : {"2", "-1", "0.5", "\"0\"", "99999999999999999999"}) {
    EXPECT_THAT(error(std::string("{\"query\": \"q\", \"choices\": [\"x\", \"y\"], \"gold\": ") +
                      gold + "}"),
                HasSubstr("from 0 to 1"));
  }
}

TEST(SweepFilesTest, FilesWithoutItemsAreErrors) {
  const TempDir dir;
  const std::string blank = dir.Write("blank", " \n\n");
  const std::string empty = dir.Write("empty", "");
  for (const SweepPaths& paths :
       {SweepPaths{.text = empty}, SweepPaths{.choices = blank}, SweepPaths{.choices = empty},
        SweepPaths{.last_words = blank}, SweepPaths{.prompts = blank}}) {
    EXPECT_EQ(ReadSweepFiles(paths, kAll).status().code(), absl::StatusCode::kInvalidArgument);
  }
  const auto missing = ReadSweepFiles({.prompts = dir.path() + "/none"}, kAll);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()),
              AllOf(HasSubstr("--prompts"), HasSubstr("/none")));
}

TEST(SweepFilesTest, LastWordsThatAreEmptyAreErrors) {
  const TempDir dir;
  const auto files = ReadSweepFiles(
      {.last_words = dir.Write("l", "{\"context\": \"a\", \"continuation\": \"\"}")}, kAll);
  EXPECT_THAT(std::string(files.status().message()),
              HasSubstr("--last_words line 1: \"continuation\" is empty"));
}

TEST(SweepFilesTest, CharactersAreCodePoints) {
  EXPECT_EQ(CountCharacters("abc"), 3);
  EXPECT_EQ(CountCharacters("\u00e9\u6f22\U0001F600"), 3);
  EXPECT_EQ(CountCharacters("e\u0301"), 2);
}

}  // namespace
}  // namespace skipstone::client
