#include "client/cli/flag_set.h"

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FlagSetTest : public testing::Test {
 protected:
  FlagSetTest() {
    flags_.Add("server", &server_, "where");
    flags_.Add("json", &json_, "for machines");
    flags_.Add("color", &color_, "with colours");
    flags_.Add("n", &n_, "how many");
    flags_.Add("rate", &rate_, "how often");
    flags_.Add("timeout", &timeout_, "how long");
    flags_.AddList("stop", &stop_, "where to end");
  }
  absl::StatusOr<std::vector<std::string>> Parse(const std::vector<std::string>& arguments) {
    return flags_.Parse(arguments);
  }
  std::string Error(const std::vector<std::string>& arguments) {
    const auto result = Parse(arguments);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(result.status().message());
  }

  FlagSet flags_;
  std::string server_ = "localhost:1";
  bool json_ = false;
  bool color_ = true;
  std::optional<uint32_t> n_;
  double rate_ = 1.5;
  std::optional<absl::Duration> timeout_;
  std::vector<std::string> stop_;
};

TEST_F(FlagSetTest, TakesBothFormsOfValues) {
  const auto rest = Parse({"a", "--server=x=y", "--n", "3", "b", "--rate", "-0.5", "--timeout=2m"});
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_THAT(*rest, ElementsAre("a", "b"));
  EXPECT_EQ(server_, "x=y");
  EXPECT_EQ(n_, 3);
  EXPECT_EQ(rate_, -0.5);
  EXPECT_EQ(timeout_, absl::Minutes(2));
}

TEST_F(FlagSetTest, UngivenFlagsKeepTheirDefaults) {
  const auto rest = Parse({});
  ASSERT_TRUE(rest.ok());
  EXPECT_THAT(*rest, IsEmpty());
  EXPECT_EQ(server_, "localhost:1");
  EXPECT_EQ(n_, std::nullopt);
  EXPECT_EQ(timeout_, std::nullopt);
}

TEST_F(FlagSetTest, BoolsTakeNoValueOfTheNextArgument) {
  const auto rest = Parse({"--json", "false", "--nocolor"});
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_THAT(*rest, ElementsAre("false"));
  EXPECT_TRUE(json_);
  EXPECT_FALSE(color_);
  ASSERT_TRUE(Parse({"--json=false", "--color=true"}).ok());
  EXPECT_FALSE(json_);
  EXPECT_TRUE(color_);
}

TEST_F(FlagSetTest, ListsKeepEveryValueAsItIs) {
  ASSERT_TRUE(Parse({"--stop", "\n", "--stop=a,b", "--stop="}).ok());
  EXPECT_THAT(stop_, ElementsAre("\n", "a,b", ""));
}

TEST_F(FlagSetTest, TwoDashesEndTheFlags) {
  const auto rest = Parse({"--json", "--", "--n", "--"});
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_THAT(*rest, ElementsAre("--n", "--"));
  EXPECT_TRUE(json_);
}

TEST_F(FlagSetTest, ValuesMayLookLikeFlags) {
  ASSERT_TRUE(Parse({"--server", "--json"}).ok());
  EXPECT_EQ(server_, "--json");
  EXPECT_FALSE(json_);
}

TEST_F(FlagSetTest, ErrorsNameFlagAndValue) {
  EXPECT_EQ(Error({"--bogus=1"}), "unknown flag --bogus");
  EXPECT_EQ(Error({"--noserver"}), "unknown flag --noserver");
  EXPECT_EQ(Error({"--no"}), "unknown flag --no");
  EXPECT_EQ(Error({"--n"}), "--n needs a value");
  EXPECT_EQ(Error({"--nojson=true"}), "--nojson takes no value");
  EXPECT_THAT(Error({"--n", "many"}), HasSubstr("--n cannot be \"many\""));
  EXPECT_THAT(Error({"--n=-1"}), HasSubstr("--n cannot be \"-1\""));
  EXPECT_THAT(Error({"--n=4294967296"}), HasSubstr("--n cannot be \"4294967296\""));
  EXPECT_THAT(Error({"--rate=fast"}), HasSubstr("--rate cannot be \"fast\""));
  EXPECT_THAT(Error({"--timeout=5"}), HasSubstr("--timeout cannot be \"5\""));
  EXPECT_THAT(Error({"--json=maybe"}), HasSubstr("--json cannot be \"maybe\""));
}

TEST_F(FlagSetTest, HelpNamesFlagsMeaningsAndDefaults) {
  const std::string help = flags_.Help();
  EXPECT_THAT(help, HasSubstr("--server           where (default localhost:1)\n"));
  EXPECT_THAT(help, HasSubstr("--rate             how often (default 1.5)\n"));
  EXPECT_THAT(help, HasSubstr("--n                how many\n"));
  EXPECT_THAT(help, HasSubstr("--stop             where to end\n"));
}

}  // namespace
}  // namespace skipstone::client
