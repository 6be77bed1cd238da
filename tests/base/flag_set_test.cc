#include "base/flag_set.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <tuple>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
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
  const std::string number = "is not a whole number from 0 to 4294967295";
  EXPECT_EQ(Error({"--n", "many"}), "--n: 'many' " + number);
  EXPECT_EQ(Error({"--n=-1"}), "--n: '-1' " + number);
  EXPECT_EQ(Error({"--n=4294967296"}), "--n: '4294967296' " + number);
  EXPECT_EQ(Error({"--rate=fast"}), "--rate: 'fast' is not a number");
  EXPECT_EQ(Error({"--timeout=5"}), "--timeout: '5' is not a duration, such as 500ms or 30s");
  EXPECT_EQ(Error({"--json=maybe"}), "--json: 'maybe' is not true or false");
}

TEST_F(FlagSetTest, KeysOfAFileAreSetByName) {
  EXPECT_TRUE(flags_.Set("rate", "2.5").ok());
  EXPECT_EQ(rate_, 2.5);
  EXPECT_EQ(flags_.Set("rate", "x").message(), "rate: 'x' is not a number");
  EXPECT_EQ(flags_.Set("bogus", "x").code(), absl::StatusCode::kNotFound);
}

// Of a flag: what it takes, what it refuses, which leaves it as it was, and what is wanted.
template <typename T>
void ExpectTakes(FlagValue value, const T* target, const char* text, T taken,
                 const std::vector<const char*>& refused, const char* wanted) {
  EXPECT_TRUE(value.read(text)) << text;
  EXPECT_EQ(*target, taken);
  for (const char* wrong : refused) EXPECT_FALSE(value.read(wrong)) << wrong;
  EXPECT_EQ(*target, taken);
  EXPECT_EQ(value.wanted, wanted);
  EXPECT_TRUE(value.read(value.write())) << "what is told can be given";
  EXPECT_EQ(*target, taken);
}

TEST(FlagValueTest, TakesWhatIsWanted) {
  int count = 0;
  ExpectTakes(InRange(&count, 1, 9), &count, "9", 9, {"0", "10", "", "1.5", "x"},
              "a whole number from 1 to 9");
  int64_t large = 0;
  ExpectTakes(InRange(&large, 1), &large, "2147483648", int64_t{1} << 31,
              {"0", "99999999999999999999"}, "a whole number from 1 to 9223372036854775807");
  double share = 0;
  ExpectTakes(InRange(&share, 0, 1), &share, "0.5", 0.5, {"-0.1", "1.1", "nan", "50%", ""},
              "a number from 0 to 1");
  ExpectTakes(InRange(&share, 0), &share, "inf", std::numeric_limits<double>::infinity(),
              {"-1", "nan"}, "a number from 0");
  bool yes = false;
  ExpectTakes(ValueOf(&yes), &yes, "On", true, {"2", "", "maybe"}, "true or false");
  ExpectTakes(ValueOf(&yes), &yes, "off", false, {}, "true or false");
  std::string word;
  ExpectTakes<std::string>(OneOf(&word, {"a", "b"}), &word, "b", "b", {"c", ""}, "one of a, b");
}

TEST_F(FlagSetTest, HelpNamesFlagsMeaningsAndDefaults) {
  const std::string help = flags_.Help();
  EXPECT_THAT(help, HasSubstr("  --server\n      where (default: localhost:1)\n"));
  EXPECT_THAT(help, HasSubstr("  --rate: a number\n      how often (default: 1.5)\n"));
  EXPECT_THAT(help, HasSubstr("  --json: true or false\n      for machines (default: false)\n"));
  EXPECT_THAT(help, HasSubstr("  --n: a whole number from 0 to 4294967295\n"
                              "      how many (default: none)\n"));
  EXPECT_THAT(help, HasSubstr("  --stop\n      where to end (default: none)\n"));
}

TEST(FlagSetHelpTest, ADefaultThatCannotBeGivenIsToldInWords) {
  int threads = 0;
  FlagSet flags;
  flags.Add("threads", InRange(&threads, 1, 8), "CPU threads; default: all");
  EXPECT_EQ(flags.Help(),
            "  --threads: a whole number from 1 to 8\n      CPU threads; default: all\n");
}

TEST(ParseProgramFlagsTest, GoesOnOrTellsWhyNot) {
  int n = 1;
  FlagSet flags;
  flags.Add("n", &n, "how many");
  const auto parse = [&](std::vector<const char*> argv) {
    argv.insert(argv.begin(), "/usr/bin/program");
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const std::optional<int> status = ParseProgramFlags(flags, argv, "usage");
    const std::string out = testing::internal::GetCapturedStdout();
    return std::tuple(status, out, testing::internal::GetCapturedStderr());
  };
  EXPECT_EQ(parse({"--n=2"}), std::tuple(std::nullopt, "", ""));
  EXPECT_EQ(n, 2);
  for (const char* help : {"--help", "-h"}) {
    const auto [status, out, err] = parse({help});
    EXPECT_EQ(status, 0);
    EXPECT_THAT(out, testing::StartsWith("usage\n  --n: "));
    EXPECT_THAT(out, HasSubstr("  --help: "));
    EXPECT_EQ(err, "");
  }
  EXPECT_EQ(parse({"--m=1"}), std::tuple(2, "", "program: unknown flag --m\n"));
  EXPECT_EQ(parse({"stray"}), std::tuple(2, "", "program: unexpected argument 'stray'\n"));
}

}  // namespace
}  // namespace skipstone
