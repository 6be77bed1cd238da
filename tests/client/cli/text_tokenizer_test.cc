#include "client/cli/text_tokenizer.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/scripted_server.h"

namespace skipstone::client {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr size_t kBytesPerCall = 3000;

// A tokenizer of words, each with the blank before it. Blanks before a blank, and line ends, are
// tokens of their own.
std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    if (text[i] != '\n') {
      while (end < text.size() && text[end] != ' ' && text[end] != '\n') ++end;
    }
    words.push_back(text.substr(i, end - i));
    i = end;
  }
  return words;
}

// A tokenizer of UTF-8 characters.
std::vector<std::string> Characters(const std::string& text) {
  std::vector<std::string> characters;
  for (const char c : text) {
    if ((c & 0xC0) == 0x80) {
      characters.back() += c;
    } else {
      characters.emplace_back(1, c);
    }
  }
  return characters;
}

// Pairs from the front, so that a cut at any odd place changes all that follows.
std::vector<std::string> Pairs(const std::string& text) {
  std::vector<std::string> pairs;
  for (size_t i = 0; i < text.size(); i += 2) pairs.push_back(text.substr(i, 2));
  return pairs;
}

class TextTokenizerTest : public testing::Test {
 protected:
  using Pieces = std::vector<std::string> (*)(const std::string&);

  // Ids for each piece of `prefix` and the text.
  void Serve(Pieces pieces, const std::string& prefix) {
    server_.Answer<v1::TokenizeRequest, v1::TokenizeResponse>(
        [=, this](const v1::TokenizeRequest& request, v1::TokenizeResponse& response) {
          EXPECT_FALSE(request.add_special_tokens());
          std::lock_guard lock(mutex_);
          largest_ = std::max(largest_, request.text().size());
          for (const std::string& piece : pieces(prefix + request.text())) {
            response.add_ids(ids_.try_emplace(piece, ids_.size()).first->second);
          }
        });
  }

  absl::StatusOr<std::vector<uint32_t>> Tokenize(const std::string& text, size_t bytes_per_call) {
    const Client client(server_.address());
    const CallOptions options;
    return TextTokenizer(client, options, bytes_per_call).Tokenize(text);
  }

  // In calls of at most kBytesPerCall, and in one.
  void ExpectSameInParts(const std::string& text) {
    ASSERT_GT(text.size(), 3 * kBytesPerCall);
    largest_ = 0;
    const auto parts = Tokenize(text, kBytesPerCall);
    ASSERT_TRUE(parts.ok()) << parts.status();
    EXPECT_LE(largest_, kBytesPerCall);
    const auto whole = Tokenize(text, text.size());
    ASSERT_TRUE(whole.ok());
    EXPECT_EQ(largest_, text.size());
    EXPECT_TRUE(*parts == *whole);
  }

  // Before the server, whose threads write them.
  std::mutex mutex_;
  std::map<std::string, uint32_t> ids_;
  size_t largest_ = 0;
  ScriptedServer server_;
};

std::string RandomText(const std::vector<std::string>& parts, uint32_t seed) {
  std::mt19937 random(seed);
  std::string text;
  while (text.size() < 10 * kBytesPerCall) text += parts[random() % parts.size()];
  return text;
}

TEST_F(TextTokenizerTest, IdsAreThoseOfOneCallWhetherOrNotABlankIsPutInFront) {
  for (const std::string prefix : {" ", ""}) {
    Serve(Words, prefix);
    for (uint32_t seed = 1; seed <= 5; ++seed) {
      ExpectSameInParts(RandomText({"a", "b ", " c", "word ", "\n", "  ", "x\n\ny", "."}, seed));
    }
  }
}

TEST_F(TextTokenizerTest, LinesWithoutABlankAreCutAtTheirEnds) {
  Serve(Words, " ");
  ExpectSameInParts(RandomText({"first\n", "second\n", "\n", "3"}, 1));
}

TEST_F(TextTokenizerTest, TextsWithoutWordsAreCutBetweenCharacters) {
  Serve(Characters, " ");
  ExpectSameInParts(RandomText({"\u4e2d", "\u6587", "\u00e9", "\U0001f600"}, 1));
}

TEST_F(TextTokenizerTest, CutsThatChangeTheIdsAreNotTaken) {
  Serve(Pairs, "");
  ExpectSameInParts(RandomText({"a", "b", "c", " "}, 1));
}

TEST_F(TextTokenizerTest, WhereNoCutIsPossibleThePlaceIsNamed) {
  Serve(Words, " ");
  const std::string endless(2 * kBytesPerCall, 'x');
  const absl::Status status = Tokenize(endless, kBytesPerCall).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("6000 bytes"), HasSubstr("byte 3000")));
  EXPECT_TRUE(Tokenize(endless.substr(0, kBytesPerCall), kBytesPerCall).ok());
}

TEST_F(TextTokenizerTest, OneCallWhereTheTextFits) {
  Serve(Words, " ");
  ASSERT_TRUE(Tokenize("", kBytesPerCall).ok());
  ASSERT_TRUE(Tokenize(std::string(kBytesPerCall, 'x'), kBytesPerCall).ok());
  EXPECT_EQ(server_.calls().size(), 2);
}

TEST_F(TextTokenizerTest, ErrorsOfACallEndIt) {
  Serve(Words, " ");
  for (int call = 0; call < 8; ++call) {
    std::atomic<int> calls = 0;
    server_.Handle<v1::TokenizeRequest, v1::TokenizeResponse>(
        [call, &calls](grpc::ServerContext&, const auto&, auto&) {
          return calls++ == call ? grpc::Status(grpc::StatusCode::INTERNAL, "broken")
                                 : grpc::Status::OK;
        });
    const std::string text = RandomText({"a b "}, 1);
    EXPECT_EQ(Tokenize(text, kBytesPerCall).status(), absl::InternalError("broken")) << call;
  }
}

}  // namespace
}  // namespace skipstone::client
