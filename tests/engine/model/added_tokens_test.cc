#include "engine/model/added_tokens.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using testing::ElementsAre;
using testing::Pair;

// Texts and ids of the parts.
std::vector<std::pair<std::string, int>> Split(const std::vector<AddedToken>& tokens,
                                               const std::string& text, bool special = true) {
  AddedTokens added;
  for (const AddedToken& token : tokens) EXPECT_TRUE(added.Add(token).ok()) << token.content;
  added.Finish();
  std::vector<std::pair<std::string, int>> parts;
  std::string whole;
  for (const AddedTokens::Part& part : added.Split(text, special)) {
    parts.emplace_back(std::string(part.text), part.id);
    whole += part.text;
  }
  EXPECT_EQ(whole, text) << "nothing is lost";
  return parts;
}

TEST(AddedTokensTest, TakesTheLeftmostAndOfThoseTheLongest) {
  const std::vector<AddedToken> tokens = {
      {.id = 1, .content = "<a>"}, {.id = 2, .content = "<a>b"}, {.id = 3, .content = ">b<"}};
  EXPECT_THAT(Split(tokens, "x<a>b<y"),
              ElementsAre(Pair("x", -1), Pair("<a>b", 2), Pair("<y", -1)));
  EXPECT_THAT(Split(tokens, "<a><a>b"), ElementsAre(Pair("<a>", 1), Pair("<a>b", 2)));
  EXPECT_THAT(Split(tokens, ">b<a>"), ElementsAre(Pair(">b<", 3), Pair("a>", -1)));
  EXPECT_THAT(Split(tokens, "<a"), ElementsAre(Pair("<a", -1)));
  EXPECT_THAT(Split(tokens, ""), ElementsAre());
}

TEST(AddedTokensTest, TakesTheBlanksThatATokenAsksFor) {
  const std::vector<AddedToken> tokens = {{.id = 1, .content = "<l>", .lstrip = true},
                                          {.id = 2, .content = "<r>", .rstrip = true}};
  EXPECT_THAT(Split(tokens, "a \u3000<l> b"),
              ElementsAre(Pair("a", -1), Pair(" \u3000<l>", 1), Pair(" b", -1)));
  EXPECT_THAT(Split(tokens, "a <r>\n\t b"),
              ElementsAre(Pair("a ", -1), Pair("<r>\n\t ", 2), Pair("b", -1)));
  // Blanks go to one of them only.
  EXPECT_THAT(Split(tokens, "<r> <l>"), ElementsAre(Pair("<r> ", 2), Pair("<l>", 1)));
}

TEST(AddedTokensTest, LooksForNormalizedTokensInWhatOthersLeave) {
  const std::vector<AddedToken> tokens = {{.id = 1, .content = "ab", .normalized = true},
                                          {.id = 2, .content = "bc", .normalized = false}};
  EXPECT_THAT(Split(tokens, "abc ab"),
              ElementsAre(Pair("a", -1), Pair("bc", 2), Pair(" ", -1), Pair("ab", 1)));
}

TEST(AddedTokensTest, LeavesSpecialTokensAsTextWhereAsked) {
  const std::vector<AddedToken> tokens = {{.id = 1, .content = "<s>", .special = true},
                                          {.id = 2, .content = "<p>"}};
  EXPECT_THAT(Split(tokens, "<s><p>"), ElementsAre(Pair("<s>", 1), Pair("<p>", 2)));
  EXPECT_THAT(Split(tokens, "<s><p>", /*special=*/false),
              ElementsAre(Pair("<s>", -1), Pair("<p>", 2)));
}

TEST(AddedTokensTest, RefusesContradictions) {
  AddedTokens added;
  ASSERT_TRUE(added.Add({.id = 5, .content = "<a>"}).ok());
  EXPECT_EQ(added.Add({.id = 5, .content = "<b>"}).message(),
            "token 5 is added as '<a>' and as '<b>'");
  EXPECT_EQ(added.Add({.id = 6, .content = "<a>"}).message(),
            "'<a>' is added as token 5 and as token 6");
  EXPECT_EQ(added.Add({.id = 7}).message(), "added token 7 has an empty content");
  EXPECT_EQ(added.IdOf("<a>"), 5);
  EXPECT_EQ(added.IdOf("<b>"), -1);
  EXPECT_EQ(added.Find(6), nullptr);
}

TEST(PrefixMatcherTest, FindsTheLongestTextThatATextBeginsWith) {
  const PrefixMatcher matcher(
      {{"b", 1}, {"ab", 2}, {"abcd", 3}, {"\xFF", 4}, {"a\xC3", 5}, {"", 6}});
  const auto longest = [&](std::string_view text) {
    const PrefixMatcher::Match match = matcher.Longest(text);
    return std::pair(match.bytes, match.id);
  };
  EXPECT_THAT(longest("abcde"), Pair(4, 3));
  EXPECT_THAT(longest("abcx"), Pair(2, 2));
  EXPECT_THAT(longest("ba"), Pair(1, 1));
  EXPECT_THAT(longest("\xFFz"), Pair(1, 4));
  EXPECT_THAT(longest("a\xC3\xA9"), Pair(2, 5));
  EXPECT_THAT(longest("xab"), Pair(0, -1));
  EXPECT_THAT(longest(""), Pair(0, -1));
  EXPECT_EQ(PrefixMatcher().Longest("a").bytes, 0);
}

}  // namespace
}  // namespace skipstone
