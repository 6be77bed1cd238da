#include "engine/model/text_stream.h"

#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/stop_reference.h"

namespace skipstone {
namespace {

using testing::ElementsAre;

// The deltas of tokens with these bytes, the flush last.
struct Streamed {
  std::vector<std::string> deltas;
  std::optional<std::string> stop;
};

Streamed Stream(const std::vector<std::string>& tokens, TextStream::Options options = {}) {
  const ByteTokenizer tokenizer(tokens);
  TextStream stream(tokenizer, std::move(options));
  Streamed streamed;
  for (int id = 0; id < static_cast<int>(tokens.size()); ++id) {
    streamed.deltas.push_back(stream.Add(id));
  }
  streamed.deltas.push_back(stream.Flush());
  EXPECT_EQ(stream.Flush(), "") << "a second flush has nothing left";
  streamed.stop = stream.matched_stop();
  return streamed;
}

TEST(TextStreamTest, PassesTextOnAtOnceWithoutStopStrings) {
  EXPECT_THAT(Stream({"In", " the", " beginning"}).deltas,
              ElementsAre("In", " the", " beginning", ""));
}

TEST(TextStreamTest, NeverSplitsACharacter) {
  EXPECT_THAT(Stream({"a\xF0", "\x9F", "\x99", "\x82z"}).deltas,
              ElementsAre("a", "", "", "\U0001F642z", ""));
}

TEST(TextStreamTest, FlushesAnIncompleteCharacterAsReplacements) {
  EXPECT_THAT(Stream({"a", "\xE2", "\x82"}).deltas, ElementsAre("a", "", "", "\uFFFD\uFFFD"));
}

TEST(TextStreamTest, ReplacesWhatCanNoLongerBecomeACharacter) {
  EXPECT_THAT(Stream({"\xE2\x82", "a", "\xFF"}).deltas,
              ElementsAre("", "\uFFFD\uFFFDa", "\uFFFD", ""));
}

TEST(TextStreamTest, HoldsBackTheBeginningOfAStopString) {
  const Streamed streamed =
      Stream({"one", "\n", "two", "\n", "\n", "three"}, {.stop_strings = {"\n\n"}});
  EXPECT_THAT(streamed.deltas, ElementsAre("one", "", "\ntwo", "", "", "", ""));
  EXPECT_EQ(streamed.stop, "\n\n");
}

TEST(TextStreamTest, FindsAStopStringAcrossManyTokens) {
  const Streamed streamed = Stream({"x[", "E", "ND", "]y"}, {.stop_strings = {"[END]"}});
  EXPECT_THAT(streamed.deltas, ElementsAre("x", "", "", "", ""));
  EXPECT_EQ(streamed.stop, "[END]");
}

TEST(TextStreamTest, FindsAStopStringInsideAToken) {
  const Streamed streamed = Stream({"say STOP now", "more"}, {.stop_strings = {"STOP"}});
  EXPECT_THAT(streamed.deltas, ElementsAre("say ", "", ""));
}

TEST(TextStreamTest, GivesTheStopStringIfAsked) {
  const Streamed streamed =
      Stream({"a", "S", "TOPb"}, {.stop_strings = {"STOP"}, .include_stop = true});
  EXPECT_THAT(streamed.deltas, ElementsAre("a", "", "STOP", ""));
  EXPECT_EQ(streamed.stop, "STOP");
}

TEST(TextStreamTest, GivesBackWhatTurnsOutToBeNoStopString) {
  const Streamed streamed = Stream({"a", "S", "T", "x"}, {.stop_strings = {"STOP"}});
  EXPECT_THAT(streamed.deltas, ElementsAre("a", "", "", "STx", ""));
  EXPECT_EQ(streamed.stop, std::nullopt);
}

TEST(TextStreamTest, FlushesWhatMightHaveBecomeAStopString) {
  EXPECT_THAT(Stream({"a", "STO"}, {.stop_strings = {"STOP"}}).deltas, ElementsAre("a", "", "STO"));
}

// After "aab" only "ab" of what was held is still a beginning.
TEST(TextStreamTest, KeepsALaterBeginningWhenAnEarlierOneFails) {
  const Streamed streamed = Stream({"a", "a", "b", "c"}, {.stop_strings = {"abc"}});
  EXPECT_THAT(streamed.deltas, ElementsAre("", "a", "", "", ""));
  EXPECT_EQ(streamed.stop, "abc");
}

TEST(TextStreamTest, StopsAtTheStopStringThatEndsFirst) {
  // "bc" ends before "abcd" does, though it begins later.
  EXPECT_EQ(Stream({"abcd"}, {.stop_strings = {"abcd", "bc"}}).stop, "bc");
  EXPECT_EQ(Stream({"a", "b", "c", "d"}, {.stop_strings = {"abcd", "bc"}}).stop, "bc");
  EXPECT_THAT(Stream({"abcd"}, {.stop_strings = {"abcd", "bc"}}).deltas, ElementsAre("a", ""));
}

TEST(TextStreamTest, PrefersTheLongestOfStopStringsThatEndTogether) {
  for (const auto& stops : {std::vector<std::string>{"c", "abc", "bc"}, {"abc", "c"}}) {
    const Streamed streamed = Stream({"x", "ab", "c"}, {.stop_strings = stops});
    EXPECT_EQ(streamed.stop, "abc");
    EXPECT_THAT(streamed.deltas, ElementsAre("x", "", "", ""));
  }
}

TEST(TextStreamTest, MatchesStopStringsOfSeveralBytesPerCharacter) {
  const Streamed streamed =
      Stream({"x\xE2", "\x82", "\xAC", "\xC3", "\xA9", "y"}, {.stop_strings = {"\u20AC\u00E9"}});
  EXPECT_THAT(streamed.deltas, ElementsAre("x", "", "", "", "", "", ""));
  EXPECT_EQ(streamed.stop, "\u20AC\u00E9");
}

TEST(TextStreamTest, NeverMatchesEmptyOrInvalidStopStrings) {
  const Streamed streamed = Stream({"a", "\xFF", "b"}, {.stop_strings = {"", "\xFF"}});
  EXPECT_THAT(streamed.deltas, ElementsAre("a", "\uFFFD", "b", ""));
  EXPECT_EQ(streamed.stop, std::nullopt);
}

TEST(TextStreamTest, MatchesAReplacedCharacterAtTheFlush) {
  const Streamed streamed = Stream({"a", "\xE2"}, {.stop_strings = {"a\uFFFD"}});
  EXPECT_THAT(streamed.deltas, ElementsAre("", "", ""));
  EXPECT_EQ(streamed.stop, "a\uFFFD");
}

TEST(TextStreamTest, GivesNothingAfterAMatch) {
  // The token's own rest is an incomplete character.
  const Streamed streamed = Stream({"aSTOP\xE2", "\x82", "b"}, {.stop_strings = {"STOP"}});
  EXPECT_THAT(streamed.deltas, ElementsAre("a", "", "", ""));
}

TEST(TextStreamTest, DropsTheVocabularysBlankOnlyAtTheStartOfAText) {
  EXPECT_THAT(Stream({" the", " end"}, {.at_start = true}).deltas, ElementsAre("the", " end", ""));
  EXPECT_THAT(Stream({" the", " end"}, {.at_start = false}).deltas,
              ElementsAre(" the", " end", ""));
  EXPECT_THAT(Stream({"", " the"}, {.at_start = true}).deltas, ElementsAre("", "the", ""))
      << "a control token is no text";
  EXPECT_THAT(Stream({"x", " the"}, {.at_start = true}).deltas, ElementsAre("x", " the", ""));
}

// Pieces that make overlapping stop strings, cut characters and invalid bytes likely.
const std::vector<std::string>& Pieces() {
  static const auto* const pieces = new std::vector<std::string>{
      "a",    "b",        "ab",   "ba",     " a", "\u20AC", "\xE2", "\x82",
      "\xAC", "\xE2\x82", "\xFF", "\uFFFD", "",   "a\xE2",  "aab"};
  return *pieces;
}

std::string RandomStop(std::mt19937& random) {
  static const char* const kParts[] = {"a", "b", "\u20AC", " ", "\uFFFD"};
  std::string stop;
  for (unsigned i = 1 + random() % 4; i > 0; --i) stop += kParts[random() % 5];
  return stop;
}

struct RandomOutput {
  explicit RandomOutput(std::mt19937& random) {
    for (unsigned i = random() % 12; i > 0; --i) {
      ids.push_back(static_cast<int32_t>(random() % Pieces().size()));
      bytes += Pieces()[ids.back()];
    }
    for (unsigned i = random() % 4; i > 0; --i) options.stop_strings.push_back(RandomStop(random));
    options.include_stop = random() % 2 == 0;
  }
  std::vector<int32_t> ids;
  std::string bytes;
  TextStream::Options options;
};

TEST(TextStreamTest, DeltasMakeTheTextThatTheWholeOutputDefines) {
  std::mt19937 random(1);
  const ByteTokenizer tokenizer(Pieces());
  int matches = 0;
  for (int i = 0; i < 50000; ++i) {
    const RandomOutput output(random);
    const StoppedText wanted =
        StopReference(output.bytes, output.options.stop_strings, output.options.include_stop);
    TextStream stream(tokenizer, output.options);
    std::string text;
    std::string seen;
    for (const int32_t id : output.ids) {
      text += stream.Add(id);
      seen += Pieces()[id];
      ASSERT_TRUE(IsValidUtf8(text)) << testing::PrintToString(output.bytes);
      if (stream.matched_stop()) break;
      // Nothing more and nothing less is held back than must be.
      ASSERT_EQ(text, CertainText(seen, output.options.stop_strings))
          << testing::PrintToString(seen);
    }
    text += stream.Flush();
    ASSERT_EQ(text, wanted.text) << testing::PrintToString(output.bytes) << " stops "
                                 << testing::PrintToString(output.options.stop_strings);
    ASSERT_EQ(stream.matched_stop(), wanted.stop) << testing::PrintToString(output.bytes);
    matches += wanted.stop.has_value();
  }
  EXPECT_GT(matches, 5000) << "the random outputs are of no use";
}

// The same bytes in tokens of other lengths.
TEST(TextStreamTest, TextDoesNotDependOnHowTokensDivideIt) {
  std::mt19937 random(2);
  for (int i = 0; i < 20000; ++i) {
    const RandomOutput output(random);
    std::vector<std::string> tokens;
    for (size_t begin = 0; begin < output.bytes.size();) {
      tokens.push_back(output.bytes.substr(begin, 1 + random() % 5));
      begin += tokens.back().size();
    }
    const StoppedText wanted =
        StopReference(output.bytes, output.options.stop_strings, output.options.include_stop);
    const Streamed streamed = Stream(tokens, output.options);
    ASSERT_EQ(std::accumulate(streamed.deltas.begin(), streamed.deltas.end(), std::string()),
              wanted.text)
        << testing::PrintToString(tokens);
    ASSERT_EQ(streamed.stop, wanted.stop) << testing::PrintToString(tokens);
  }
}

TEST(TextStreamTest, EqualsTheTokenizersDecodingWithoutStopStrings) {
  std::mt19937 random(3);
  const ByteTokenizer tokenizer(Pieces());
  for (int i = 0; i < 20000; ++i) {
    const RandomOutput output(random);
    TextStream stream(tokenizer, {.at_start = true});
    std::string text;
    for (const int32_t id : output.ids) text += stream.Add(id);
    ASSERT_EQ(text + stream.Flush(), tokenizer.Decode(output.ids))
        << testing::PrintToString(output.bytes);
  }
}

}  // namespace
}  // namespace skipstone
