#include "engine/skip/skip_grammar.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// The canonical text of what `text` means.
std::string Canonical(const std::string& text, int num_layers = 32) {
  const absl::StatusOr<SkipSet> skip = ParseSkipSet(text, num_layers);
  return skip.ok() ? skip->ToString() : skip.status().ToString();
}

struct Form {
  const char* text;
  const char* canonical;
};

constexpr Form kForms[] = {
    {"none", "none"},
    {"attn:last=1", "attn:31"},
    {"attn:last=8", "attn:24-31"},
    {"mlp:last=2", "mlp:30-31"},
    {"block:last=2", "attn:30-31+mlp:30-31"},
    {"attn:last=0", "none"},
    {"attn:last=32", "attn:0-31"},
    {"attn:last=0%", "none"},
    {"attn:last=100%", "attn:0-31"},
    {"attn:last=33.4%", "attn:21-31"},
    {"attn:5", "attn:5"},
    {"attn:0", "attn:0"},
    {"attn:31", "attn:31"},
    {"attn:7-7", "attn:7"},
    {"attn:20-31+mlp:30", "attn:20-31+mlp:30"},
    {"mlp:30+attn:20-31", "attn:20-31+mlp:30"},
    {"attn:5,3,4", "attn:3-5"},
    {"attn:3-6,5-9", "attn:3-9"},
    {"attn:3+attn:4", "attn:3-4"},
    {"attn:0,last=2", "attn:0,30-31"},
    {"attn:3+block:3", "attn:3+mlp:3"},
    {"attn:last=8,keep-final", "attn:23-30"},
    {"attn:keep-final,last=8", "attn:23-30"},
    {"attn:last=31,keep-final", "attn:0-30"},
    {"block:last=1,keep-final", "attn:30+mlp:30"},
    {"mlp:last=25%,keep-final", "mlp:23-30"},
    {"attn:last=0,keep-final", "none"},
    {"win:last=8/64", "win:24-31/64"},
    {"win:last=50%/64", "win:16-31/64"},
    {"win:5/16", "win:5/16"},
    {"win:0-31/262144", "win:0-31/262144"},
    {"win:10-15/64,20/128", "win:10-15/64,20/128"},
    {"win:20/128,10-15/64", "win:10-15/64,20/128"},
    {"win:3-6/64,5-9/64", "win:3-9/64"},
    {"win:3/64,4/72", "win:3/64,4/72"},
    {"win:0/32,last=2/64", "win:0/32,30-31/64"},
    {"win:5/64+win:5/64", "win:5/64"},
    {"win:last=2/64+win:last=4/64", "win:28-31/64"},
    {"win:last=0/64", "none"},
    {"win:last=0%/64", "none"},
    {"win:last=1%/64", "none"},
    {"attn:last=0+win:last=0/16", "none"},
    {"win:5/064", "win:5/64"},
    {"attn:20-31+win:10-19/64+mlp:30", "attn:20-31+win:10-19/64+mlp:30"},
    {"mlp:30+win:10-19/64+attn:20-31", "attn:20-31+win:10-19/64+mlp:30"},
    {"win:16/64+mlp:16", "win:16/64+mlp:16"},
    {"win:0-31/64+mlp:0-31", "win:0-31/64+mlp:0-31"},
    {"attn:0-31", "attn:0-31"},
    {"attn:0-31+mlp:0-30", "attn:0-31+mlp:0-30"},
};

TEST(SkipGrammarTest, EveryFormMeansWhatSemanticsSays) {
  for (const Form& form : kForms) EXPECT_EQ(Canonical(form.text), form.canonical) << form.text;
}

TEST(SkipGrammarTest, RoundsPercentagesToTheNearestLayerHalvesUp) {
  const auto layers = [](const char* percent, int num_layers) {
    return ParseSkipSet(std::string("attn:last=") + percent, num_layers)->SkippedAttention();
  };
  EXPECT_EQ(layers("25%", 32), 8);
  EXPECT_EQ(layers("33%", 32), 11);  // 10.56
  EXPECT_EQ(layers("50%", 32), 16);
  EXPECT_EQ(layers("33%", 40), 13);  // 13.2
  EXPECT_EQ(layers("33%", 80), 26);  // 26.4
  EXPECT_EQ(layers("50%", 5), 3);    // 2.5
  EXPECT_EQ(layers("10%", 5), 1);    // 0.5
  EXPECT_EQ(layers("9.9%", 5), 0);   // 0.495
  EXPECT_EQ(layers("0.5%", 100), 1);
}

TEST(SkipGrammarTest, KeepFinalKeepsTheLastAttentionAlive) {
  EXPECT_EQ(ParseSkipSet("attn:last=8,keep-final", 32)->LastKeptAttention(), 31);
  EXPECT_EQ(ParseSkipSet("attn:last=8", 32)->LastKeptAttention(), 23);
}

struct BadForm {
  const char* text;
  const char* term;  // what the error must name
  const char* why;
};

constexpr BadForm kBadForms[] = {
    {"", "", "start with attn:, win:, mlp: or block:"},
    {"full", "full", "start with attn:"},
    {"attn", "attn", "start with attn:"},
    {"ATTN:1", "ATTN:1", "start with attn:"},
    {" attn:1", " attn:1", "start with attn:"},
    {"attn:1+", "", "start with attn:"},
    {"attn:1+none", "none", "start with attn:"},
    {"attn:1+ffn:2+mlp:3", "ffn:2", "start with attn:"},
    {"attn:1;mlp:2", "attn:1;mlp:2", "'1;mlp:2' is not an item"},
    {"attn:", "attn:", "'' is not an item"},
    {"attn:1,", "attn:1,", "'' is not an item"},
    {"attn:x", "attn:x", "'x' is not an item"},
    {"attn:1-2-3", "attn:1-2-3", "'1-2-3' is not an item"},
    {"attn:-3", "attn:-3", "'-3' is not an item"},
    {"attn:3-", "attn:3-", "'3-' is not an item"},
    {"attn:+3", "attn:", "'' is not an item"},
    {"attn: 3", "attn: 3", "' 3' is not an item"},
    {"attn:9999999999", "attn:9999999999", "'9999999999' is not an item"},
    {"attn:1.5", "attn:1.5", "'1.5' is not an item"},
    {"attn:all", "attn:all", "'all' is not an item"},
    {"attn:32", "attn:32", "layer 32 is out of range 0-31"},
    {"mlp:3+attn:30-32", "attn:30-32", "layer 32 is out of range 0-31"},
    {"attn:5-3", "attn:5-3", "range '5-3' is reversed"},
    {"attn:last=", "attn:last=", "'' is not a number of layers"},
    {"attn:last=-1", "attn:last=-1", "'-1' is not a number of layers"},
    {"attn:last=1.5", "attn:last=1.5", "'1.5' is not a number of layers"},
    {"attn:last=33", "attn:last=33", "last=33 exceeds the 32 layers"},
    {"attn:last=32,keep-final", "attn:last=32,keep-final", "exceeds the 31 layers"},
    {"attn:last=100%,keep-final", "attn:last=100%,keep-final", "exceeds the 31 layers"},
    {"attn:last=%", "attn:last=%", "'%' is not a percentage"},
    {"attn:last=.%", "attn:last=.%", "'.%' is not a percentage"},
    {"attn:last=101%", "attn:last=101%", "'101%' is not a percentage"},
    {"attn:last=-5%", "attn:last=-5%", "'-5%' is not a percentage"},
    {"attn:last=1e1%", "attn:last=1e1%", "'1e1%' is not a percentage"},
    {"attn:last=nan%", "attn:last=nan%", "'nan%' is not a percentage"},
    {"attn:last=1,last=2", "attn:last=1,last=2", "last= stands twice"},
    {"attn:keep-final", "attn:keep-final", "keep-final needs last="},
    {"attn:5,keep-final", "attn:5,keep-final", "keep-final needs last="},
    {"attn:last=2,keep-final,keep-final", "attn:last=2,keep-final,keep-final",
     "keep-final stands twice"},
    {"win", "win", "start with attn:, win:"},
    {"WIN:1/64", "WIN:1/64", "start with attn:, win:"},
    {"win:", "win:", "'' has no window"},
    {"win:5", "win:5", "'5' has no window, such as /64"},
    {"win:last=8", "win:last=8", "'last=8' has no window"},
    {"win:3/64,4", "win:3/64,4", "'4' has no window"},
    {"win:3,4/64", "win:3,4/64", "'3' has no window"},
    {"win:/64", "win:/64", "'' is not an item"},
    {"win:5/", "win:5/", "'' is not a window"},
    {"win:5/0", "win:5/0", "'0' is not a window, which is a multiple of 8 from 16 to 262144"},
    {"win:5/8", "win:5/8", "'8' is not a window"},
    {"win:5/63", "win:5/63", "'63' is not a window"},
    {"win:5/20", "win:5/20", "'20' is not a window"},
    {"win:5/262152", "win:5/262152", "'262152' is not a window"},
    {"win:5/1000000000", "win:5/1000000000", "'1000000000' is not a window"},
    {"win:5/-64", "win:5/-64", "'-64' is not a window"},
    {"win:5/ 64", "win:5/ 64", "' 64' is not a window"},
    {"win:5/64 ", "win:5/64 ", "'64 ' is not a window"},
    {"win:5/6e1", "win:5/6e1", "'6e1' is not a window"},
    {"win:5/64.0", "win:5/64.0", "'64.0' is not a window"},
    {"win:5/50%", "win:5/50%", "'50%' is not a window"},
    {"win:5/64/64", "win:5/64/64", "'64/64' is not a window"},
    {"win:last=0/63", "win:last=0/63", "'63' is not a window"},
    {"win:32/64", "win:32/64", "layer 32 is out of range 0-31"},
    {"win:5-3/64", "win:5-3/64", "range '5-3' is reversed"},
    {"win:last=33/64", "win:last=33/64", "last=33 exceeds the 32 layers"},
    {"win:last=101%/64", "win:last=101%/64", "'101%' is not a percentage"},
    {"win:last=x/64", "win:last=x/64", "'x' is not a number of layers"},
    {"win:last=2/64,last=4/64", "win:last=2/64,last=4/64", "last= stands twice"},
    {"win:last=2/64,keep-final", "win:last=2/64,keep-final", "keep-final is for what is skipped"},
    {"win:last=2/64,keep-final/64", "win:last=2/64,keep-final/64", "keep-final is for"},
    {"win:keep-final", "win:keep-final", "keep-final is for what is skipped"},
    {"attn:5/64", "attn:5/64", "'5/64' has a window, which only items of win: have"},
    {"mlp:last=2/64", "mlp:last=2/64", "'last=2/64' has a window"},
    {"block:1-2/64", "block:1-2/64", "'1-2/64' has a window"},
    {"attn:last=2,keep-final/64", "attn:last=2,keep-final/64", "'keep-final/64' has a window"},
    {"attn:5+win:4-6/64", "win:4-6/64", "the attention of layer 5 is both windowed and skipped"},
    {"win:4-6/64+attn:5", "win:4-6/64", "the attention of layer 5 is both windowed and skipped"},
    {"win:last=4/64+block:30", "win:last=4/64", "layer 30 is both windowed and skipped"},
    {"block:30+win:last=4/64", "win:last=4/64", "layer 30 is both windowed and skipped"},
    {"win:5/64,5/72", "win:5/64,5/72", "layer 5 has windows of 64 and of 72 tokens"},
    {"win:last=4/64+win:29/16", "win:29/16", "layer 29 has windows of 64 and of 16 tokens"},
    {"win:29/16+win:last=4/64", "win:last=4/64", "layer 29 has windows of 16 and of 64 tokens"},
    {"block:0-31", "block:0-31", "skips every sublayer"},
    {"block:last=100%", "block:last=100%", "skips every sublayer"},
    {"attn:0-31+mlp:last=32", "attn:0-31+mlp:last=32", "skips every sublayer"},
};

TEST(SkipGrammarTest, EveryErrorNamesTheTermTheLayersAndTheGrammar) {
  for (const BadForm& form : kBadForms) {
    const absl::Status status = ParseSkipSet(form.text, 32).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << form.text;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("'" + std::string(form.term) + "'"), HasSubstr(form.why),
                      HasSubstr("32 layers"), HasSubstr("(attn|mlp|block):item[,item...]"),
                      HasSubstr("last=P%"), HasSubstr("win:item/W[,item/W...]")));
  }
}

TEST(SkipGrammarTest, SkipsEveryAttentionWhileAnMlpStays) {
  EXPECT_EQ(ParseSkipSet("attn:0-31+mlp:0-30", 32)->LastKeptAttention(), -1);
}

// An error goes into a status message, which travels in a header of limited size.
TEST(SkipGrammarTest, ShortensLongTermsInErrors) {
  const std::string longest(100000, 'x');
  for (const std::string& text : {longest, "attn:" + longest, "attn:last=" + longest}) {
    const std::string message(ParseSkipSet(text, 32).status().message());
    EXPECT_LT(message.size(), 1000);
    EXPECT_THAT(message, AllOf(HasSubstr("xxx..."), HasSubstr("32 layers")));
  }
}

TEST(SkipGrammarTest, ReadsBytesThatAreNoTextWithoutHarm) {
  EXPECT_FALSE(ParseSkipSet(std::string_view("attn:1\0", 7), 32).ok());
  EXPECT_FALSE(ParseSkipSet("attn:\xff", 32).ok());
}

int RandomWindow(std::mt19937& random) {
  constexpr int kWindows[] = {kMinWindow, 64, 128, kMaxWindow};
  if (random() % 2 == 0) return kWindows[random() % std::size(kWindows)];
  return kMinWindow + kWindowUnit * static_cast<int>(random() % 1000);
}

// Random sets; every set's canonical text must mean the same set again.
TEST(SkipGrammarTest, CanonicalTextMeansTheSameSet) {
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    const int num_layers = 1 + static_cast<int>(random() % kMaxLayers);
    const unsigned density = 1 + random() % 8;
    SkipSet skip(num_layers);
    for (int layer = 0; layer < num_layers; ++layer) {
      if (random() % 8 < density) skip.SkipAttention(layer);
      if (random() % 8 < density) skip.SkipMlp(layer);
      if (skip.KeepsAttention(layer) && random() % 8 < density) {
        skip.WindowAttention(layer, RandomWindow(random));
      }
    }
    const absl::StatusOr<SkipSet> parsed = ParseSkipSet(skip.ToString(), num_layers);
    if (skip.SkipsEverything()) {
      EXPECT_FALSE(parsed.ok());
      continue;
    }
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    ASSERT_EQ(*parsed, skip) << skip.ToString();
    ASSERT_EQ(parsed->LastKeptAttention(), skip.LastKeptAttention());
    ASSERT_EQ(parsed->ToString(), skip.ToString());
    ASSERT_EQ(parsed->id(), skip.id());
  }
}

// Terms with one layer each, of which some contradict each other, in two random orders.
TEST(SkipGrammarTest, TheOrderOfTermsDoesNotMatter) {
  std::mt19937 random(2);
  int good = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::string> terms;
    for (unsigned count = 1 + random() % 6; count > 0; --count) {
      constexpr const char* kKinds[] = {"attn", "win", "mlp", "block"};
      const std::string kind = kKinds[random() % 4];
      const std::string window = random() % 4 == 0 ? "/16" : "/64";
      terms.push_back(kind + ":" + std::to_string(random() % 12) + (kind == "win" ? window : ""));
    }
    const absl::StatusOr<SkipSet> skip = ParseSkipSet(absl::StrJoin(terms, "+"), 12);
    std::shuffle(terms.begin(), terms.end(), random);
    const absl::StatusOr<SkipSet> shuffled = ParseSkipSet(absl::StrJoin(terms, "+"), 12);
    ASSERT_EQ(skip.ok(), shuffled.ok()) << absl::StrJoin(terms, "+");
    if (!skip.ok()) continue;
    ASSERT_EQ(*skip, *shuffled) << absl::StrJoin(terms, "+");
    ++good;
  }
  EXPECT_GT(good, 1000);
  EXPECT_LT(good, 2900) << "contradictions are tried too";
}

TEST(SkipGrammarTest, AddWindowSaysWhyItCannotBe) {
  SkipSet skip(4);
  skip.SkipAttention(3);
  EXPECT_TRUE(AddWindow(skip, 2, 64).ok());
  EXPECT_TRUE(AddWindow(skip, 2, 64).ok()) << "the same again";
  const auto error = [&](int layer, int64_t tokens) {
    SkipSet changed = skip;
    const absl::Status status = AddWindow(changed, layer, tokens);
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_EQ(changed, skip);
    return std::string(status.message());
  };
  EXPECT_THAT(error(1, 4294967295), HasSubstr("4294967295 is not a window"));
  EXPECT_THAT(error(1, 63), HasSubstr("63 is not a window, which is a multiple of 8"));
  EXPECT_THAT(error(3, 64), HasSubstr("layer 3 is both windowed and skipped"));
  EXPECT_THAT(error(2, 32), HasSubstr("layer 2 has windows of 64 and of 32 tokens"));
}

// As for attention that is skipped: a percentage of a small model may be no layer.
TEST(SkipGrammarTest, APercentageThatRoundsToNoLayerWindowsNone) {
  EXPECT_EQ(Canonical("win:last=9%/64", 5), "none");
  EXPECT_EQ(Canonical("attn:last=9%", 5), "none");
  EXPECT_EQ(Canonical("win:last=10%/64", 5), "win:4/64");
  EXPECT_EQ(Canonical("attn:last=10%", 5), "attn:4");
}

TEST(SkipGrammarTest, LastIsTheSameAsItsRange) {
  for (const int num_layers : {1, 12, 80, 128}) {
    for (int count = 1; count < num_layers; ++count) {
      const std::string first = std::to_string(num_layers - count);
      EXPECT_EQ(Canonical("attn:last=" + std::to_string(count), num_layers),
                Canonical("attn:" + first + "-" + std::to_string(num_layers - 1), num_layers));
    }
  }
}

TEST(SkipGrammarTest, ReadsLists) {
  const auto skips = ParseSkipList("none;attn:last=33%;block:3;win:31/64", 32);
  ASSERT_TRUE(skips.ok()) << skips.status();
  ASSERT_EQ(skips->size(), 4);
  EXPECT_EQ((*skips)[0].ToString(), "none");
  EXPECT_EQ((*skips)[1].ToString(), "attn:21-31");
  EXPECT_EQ((*skips)[2].ToString(), "attn:3+mlp:3");
  EXPECT_EQ((*skips)[3].ToString(), "win:31/64");
  EXPECT_EQ(ParseSkipList("none", 32)->size(), 1);
}

TEST(SkipGrammarTest, RefusesListsWithEmptyOrWrongParts) {
  for (const char* text : {"", ";", "none;", ";none", "attn:1;;attn:2"}) {
    EXPECT_FALSE(ParseSkipList(text, 32).ok()) << text;
  }
  EXPECT_THAT(std::string(ParseSkipList("attn:1;attn:40", 32).status().message()),
              HasSubstr("'attn:40'"));
}

}  // namespace
}  // namespace skipstone
