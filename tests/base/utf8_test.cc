#include "base/utf8.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

using std::string_view_literals::operator""sv;

constexpr char kReplacement[] = "\xEF\xBF\xBD";

std::string Repeat(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

// The definition of the encoding form, without the exclusions.
std::string EncodeCodePoint(uint32_t code) {
  const auto tail = [code](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xC0 | code >> 6), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xE0 | code >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0)};
}

bool IsSurrogate(uint32_t code) { return code >= 0xD800 && code <= 0xDFFF; }

TEST(Utf8Test, TakesEveryCodePointAndWaitsForEachOfItsBeginnings) {
  for (uint32_t code = 0; code <= 0x10FFFF; ++code) {
    const std::string text = EncodeCodePoint(code);
    ASSERT_EQ(IsValidUtf8(text), !IsSurrogate(code)) << std::hex << code;
    if (IsSurrogate(code)) continue;
    ASSERT_EQ(IncompleteUtf8Tail(text), 0) << std::hex << code;
    for (size_t length = 1; length < text.size(); ++length) {
      ASSERT_EQ(IncompleteUtf8Tail(std::string_view(text).substr(0, length)), length)
          << std::hex << code;
    }
  }
}

// There are 128, 1920 and 61440 characters of one, two and three bytes; a count that is right
// over all byte strings leaves no room for another valid one.
TEST(Utf8Test, TakesNothingElseAmongAllStringsOfThreeBytes) {
  int64_t valid = 0;
  std::string text(3, '\0');
  for (uint32_t bits = 0; bits < 1 << 24; ++bits) {
    for (int i = 0; i < 3; ++i) text[i] = static_cast<char>(bits >> (8 * i));
    valid += IsValidUtf8(text);
  }
  EXPECT_EQ(valid, 128 * 128 * 128 + 2 * 128 * 1920 + 61440);
}

TEST(Utf8Test, RefusesOverlongSurrogateAndTooLargeForms) {
  for (const std::string_view text :
       {"\xC0\x80"sv, "\xC1\xBF"sv, "\xE0\x80\x80"sv, "\xE0\x9F\xBF"sv, "\xF0\x80\x80\x80"sv,
        "\xF0\x8F\xBF\xBF"sv, "\xED\xA0\x80"sv, "\xED\xBF\xBF"sv, "\xF4\x90\x80\x80"sv,
        "\xF5\x80\x80\x80"sv, "\xF8\x88\x80\x80\x80"sv, "\xFE"sv, "\xFF"sv, "\x80"sv, "\xC3"sv,
        "\xE2\x82"sv, "\xF0\x9F\x98"sv, "a\x80z"sv}) {
    EXPECT_FALSE(IsValidUtf8(text)) << testing::PrintToString(text);
  }
}

TEST(Utf8Test, TakesNulAndTheEmptyText) {
  EXPECT_TRUE(IsValidUtf8(""));
  EXPECT_TRUE(IsValidUtf8("\0a\0"sv));
}

TEST(Utf8Test, DoesNotWaitForWhatCanNoLongerBecomeACharacter) {
  for (const std::string_view text : {"\xC0"sv, "\xE0\x80"sv, "\xED\xA0"sv, "\xF0\x80"sv,
                                      "\xF4\x90"sv, "\xF5"sv, "\x80"sv, "\xC3\xC0"sv}) {
    EXPECT_EQ(IncompleteUtf8Tail(text), 0) << testing::PrintToString(text);
  }
  EXPECT_EQ(IncompleteUtf8Tail("\xC3\xC3"), 1);
  EXPECT_EQ(IncompleteUtf8Tail("abc\xE2\x82"), 2);
}

// The byte strings of tables 3-8 to 3-11 of the Unicode Standard, version 15, which replaces their
// maximal subparts; SentencePiece replaces each of their bytes.
TEST(Utf8Test, ReplacesEveryByteThatIsPartOfNoCharacter) {
  const std::string r = kReplacement;
  EXPECT_EQ(ReplaceInvalidUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), Repeat(r, 8) + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), Repeat(r, 8) + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            Repeat(r, 5) + "A" + Repeat(r, 2) + "B");
  EXPECT_EQ(ReplaceInvalidUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), Repeat(r, 8) + "A");
}

TEST(Utf8Test, ReplacesEveryByteOfAnIncompleteTail) {
  EXPECT_EQ(ReplaceInvalidUtf8("ok\xF0\x9F\x98"), "ok" + Repeat(kReplacement, 3));
}

// Python: ''.join(chr(c) for c in range(0x110000) if chr(c).isspace())
TEST(Utf8Test, KnowsTheBlanksThatPythonStrips) {
  const std::vector<uint32_t> blanks = {
      0x09,   0x0A,   0x0B,   0x0C,   0x0D,   0x1C,   0x1D,   0x1E,   0x1F,   0x20,
      0x85,   0xA0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006,
      0x2007, 0x2008, 0x2009, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000};
  for (uint32_t code = 0; code <= 0x10FFFF; ++code) {
    if (IsSurrogate(code)) continue;
    const std::string c = EncodeCodePoint(code);
    const bool blank = std::find(blanks.begin(), blanks.end(), code) != blanks.end();
    ASSERT_EQ(BlanksAtStart(c + "x"), blank ? c.size() : 0) << std::hex << code;
    ASSERT_EQ(BlanksAtEnd("x" + c), blank ? c.size() : 0) << std::hex << code;
  }
}

TEST(Utf8Test, CountsRowsOfBlanks) {
  EXPECT_EQ(BlanksAtStart(" \u3000\n x "), 6);
  EXPECT_EQ(BlanksAtEnd(" x\u00A0\t \u2003"), 7);
  EXPECT_EQ(BlanksAtStart(" \u3000 "), 5);
  EXPECT_EQ(BlanksAtEnd(" \u3000 "), 5);
  EXPECT_EQ(BlanksAtStart(""), 0);
  EXPECT_EQ(BlanksAtEnd(""), 0);
  EXPECT_EQ(BlanksAtEnd("x\x80\x80"), 0);
}

// Bytes that sit on the borders of the ranges make every kind of defect likely.
std::string RandomBytes(std::mt19937& random) {
  static constexpr std::string_view kBytes =
      "A\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC2\xDF\xE0\xE1\xED\xEF\xF0\xF3\xF4\xF5\xFF";
  std::string bytes(random() % 12, '\0');
  for (char& byte : bytes) byte = kBytes[random() % kBytes.size()];
  return bytes;
}

// What a stream does: whole characters at once, the tail with the bytes that follow.
TEST(Utf8Test, ReplacesTheSameWhereverTheBytesAreCut) {
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) {
    const std::string bytes = RandomBytes(random);
    const std::string whole = ReplaceInvalidUtf8(bytes);
    ASSERT_TRUE(IsValidUtf8(whole)) << testing::PrintToString(bytes);
    ASSERT_EQ(whole == bytes, IsValidUtf8(bytes)) << testing::PrintToString(bytes);
    const std::string first = bytes.substr(0, random() % (bytes.size() + 1));
    const size_t certain = first.size() - IncompleteUtf8Tail(first);
    ASSERT_EQ(
        ReplaceInvalidUtf8(bytes.substr(0, certain)) + ReplaceInvalidUtf8(bytes.substr(certain)),
        whole)
        << testing::PrintToString(bytes) << " cut at " << certain;
  }
}

TEST(Utf8Test, CharactersAreCodePoints) {
  EXPECT_EQ(CountCharacters("abc"), 3);
  EXPECT_EQ(CountCharacters("\u00e9\u6f22\U0001F600"), 3);
  EXPECT_EQ(CountCharacters("e\u0301"), 2);
}

}  // namespace
}  // namespace skipstone
