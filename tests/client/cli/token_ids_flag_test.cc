#include "client/cli/token_ids_flag.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using testing::ElementsAre;

std::string ErrorOf(const std::string& text) {
  return std::string(ParseTokenIds("--ids", text).status().message());
}

TEST(TokenIdsFlagTest, CommasSpacesAndBracketsAreTheSameList) {
  for (const char* text : {"1,20,4294967295", "1 20 4294967295", "[1, 20, 4294967295]",
                           " 1,\t20\n4294967295\r\n", "[\n  1,\n  20,\n  4294967295\n]\n"}) {
    const auto ids = ParseTokenIds("--ids", text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_THAT(*ids, ElementsAre(1, 20, 4294967295)) << text;
  }
  EXPECT_THAT(*ParseTokenIds("--ids", "0"), ElementsAre(0));
}

TEST(TokenIdsFlagTest, ABadIdIsNamedWithItsPosition) {
  const std::string end = ", not a number from 0 to 4294967295";
  EXPECT_EQ(ErrorOf("x"), "--ids: id 1 is \"x\"" + end);
  EXPECT_EQ(ErrorOf("1,2,-3"), "--ids: id 3 is \"-3\"" + end);
  EXPECT_EQ(ErrorOf("1 2.5 3"), "--ids: id 2 is \"2.5\"" + end);
  EXPECT_EQ(ErrorOf("1,4294967296"), "--ids: id 2 is \"4294967296\"" + end);
  EXPECT_EQ(ErrorOf("1,,2"), "--ids: id 2 is \"\"" + end);
  EXPECT_EQ(ErrorOf("1,2,"), "--ids: id 3 is \"\"" + end);
  EXPECT_EQ(ErrorOf("[1,2"), "--ids: id 1 is \"[1\"" + end);
  EXPECT_EQ(ErrorOf("1,a\x01" + std::string(100, 'b')),
            "--ids: id 2 is \"a\\001" + std::string(18, 'b') + "\"" + end);
}

TEST(TokenIdsFlagTest, NoIdsAreAnError) {
  for (const char* text : {"", " ", "[]", "[ ]", "\n"}) EXPECT_EQ(ErrorOf(text), "--ids: no ids");
}

// The flag, given `value`.
TokenIdsFlag Given(const std::string& value) {
  TokenIdsFlag flag;
  FlagSet flags;
  flag.AddTo(flags);
  EXPECT_TRUE(flags.Parse(std::vector<std::string>{"--ids", value}).ok());
  return flag;
}

TEST(TokenIdsFlagTest, ReadsTheCommandLineOrAFile) {
  EXPECT_FALSE(TokenIdsFlag().given());
  EXPECT_TRUE(TokenIdsFlag().Check().ok());
  EXPECT_THAT(*Given("5,6").Read(), ElementsAre(5, 6));
  EXPECT_EQ(Given("5,b").Check().message(), Given("5,b").Read().status().message());

  const TempDir dir;
  const TokenIdsFlag good = Given("@" + dir.Write("good", "[5, 6]\n"));
  EXPECT_TRUE(good.given());
  EXPECT_TRUE(good.Check().ok());
  EXPECT_THAT(*good.Read(), ElementsAre(5, 6));

  const std::string path = dir.Write("bad", "5\n6\nx\n");
  EXPECT_TRUE(Given("@" + path).Check().ok()) << "it opens no file";
  EXPECT_EQ(Given("@" + path).Read().status().message(),
            "--ids @" + path + ": id 3 is \"x\", not a number from 0 to 4294967295");
  for (const std::string& absent : {dir.path() + "/none", dir.path(), std::string()}) {
    EXPECT_EQ(Given("@" + absent).Read().status(),
              absl::NotFoundError("--ids: cannot read \"" + absent + "\""));
  }
}

}  // namespace
}  // namespace skipstone::client
