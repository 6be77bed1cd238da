#include "engine/skip/skip_grammar.h"

#include <random>
#include <string>
#include <vector>

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
    {"", "", "start with attn:, mlp: or block:"},
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
                      HasSubstr("last=P%")));
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
  const auto skips = ParseSkipList("none;attn:last=33%;block:3", 32);
  ASSERT_TRUE(skips.ok()) << skips.status();
  ASSERT_EQ(skips->size(), 3);
  EXPECT_EQ((*skips)[0].ToString(), "none");
  EXPECT_EQ((*skips)[1].ToString(), "attn:21-31");
  EXPECT_EQ((*skips)[2].ToString(), "attn:3+mlp:3");
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
