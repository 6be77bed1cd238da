#include "client/cli/sweep_files.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

TEST(SweepFilesTest, ReadsWhatIsGivenAndNamesItsFlag) {
  const TempDir dir;
  const auto files = ReadSweepFiles({.last_words = dir.Write("l",
                                                             "{\"context\": \"a\", "
                                                             "\"continuation\": \"b\"}\nwrong\n"),
                                     .prompts = dir.Write("p", "one\ntwo\nthree\n")},
                                    1);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_FALSE(files->text);
  EXPECT_TRUE(files->choices.empty());
  EXPECT_EQ(files->last_words.size(), 1);
  EXPECT_EQ(files->prompts.size(), 1);
  const std::string empty = dir.Write("empty", "");
  const std::pair<SweepPaths, const char*> wrong[] = {{{.text = empty}, "--text"},
                                                      {{.choices = empty}, "--choices"},
                                                      {{.last_words = empty}, "--last_words"},
                                                      {{.prompts = empty}, "--prompts"}};
  for (const auto& [paths, flag] : wrong) {
    EXPECT_THAT(std::string(ReadSweepFiles(paths, 1).status().message()),
                testing::StartsWith(std::string(flag) + ": "));
  }
}

}  // namespace
}  // namespace skipstone::client
