// Against the SentencePiece library itself. No test here may use protobuf, with whose symbols that
// library's private copy collides.
#include "engine/model/sentence_piece.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "gtest/gtest.h"
#include "tests/support/paths.h"

namespace skipstone {
namespace {

std::string Read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::string DemoModel() { return SourceDir() + "/models/demo/tokenizer.model"; }

// Random text: words of the vocabulary, blanks, characters of every length, control-token strings.
std::string RandomText(std::mt19937& random, const SentencePieceModel& model) {
  static const char* const kOdd[] = {" ",    "  ",  "\n",   "\t",     "é",      "日本",
                                     "🙂", "<s>", "</s>", "<0x0A>", "\u2581", "\u2047",
                                     "\x01", "ß",   "0123", "."};
  std::string text;
  const int parts = random() % 30;
  for (int i = 0; i < parts; ++i) {
    if (random() % 3 == 0) {
      text += kOdd[random() % std::size(kOdd)];
    } else {
      std::string piece = model.Piece(static_cast<int>(random() % model.size()));
      if (piece.starts_with("\u2581")) piece = " " + piece.substr(3);
      text += piece;
    }
  }
  return text;
}

// Long runs without a place to cut among them.
std::string RandomLongText(std::mt19937& random, const SentencePieceModel& model) {
  std::string text;
  for (int i = random() % 4; i >= 0; --i) {
    text += RandomText(random, model);
    const std::string piece = model.Piece(static_cast<int>(random() % model.size()));
    const int times = random() % 3 == 0 ? random() % 400 : 0;
    for (int j = 0; j < times; ++j) text += random() % 50 == 0 ? " " : piece;
  }
  return text;
}

// What Encode makes of a text under limits of every kind, against the whole of it.
void CheckLimits(std::mt19937& random, const SentencePieceModel& model, const std::string& text,
                 const std::vector<int32_t>& whole) {
  const size_t limit = random() % (whole.size() + 3);
  std::vector<int32_t> ids;
  model.Encode(text, &ids, limit);
  ASSERT_EQ(ids.size() > limit, whole.size() > limit) << text;
  ASSERT_LE(ids.size(), whole.size());
  ASSERT_TRUE(std::equal(ids.begin(), ids.end(), whole.begin())) << text;
  ASSERT_TRUE(model.EncodeLast(text, limit, &ids));
  const size_t kept = std::min(limit, whole.size());
  ASSERT_EQ(ids, std::vector<int32_t>(whole.end() - static_cast<std::ptrdiff_t>(kept), whole.end()))
      << text;
  ASSERT_GE(whole.size() * model.longest_piece_bytes(), text.size());
}

void CompareWithLibrary(const std::string& path, int texts) {
  const std::string bytes = Read(path);
  std::string error;
  const auto model = SentencePieceModel::Parse(bytes, &error);
  ASSERT_NE(model, nullptr) << error;
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto(bytes).ok());
  ASSERT_EQ(model->size(), library.GetPieceSize());
  for (int id = 0; id < model->size(); ++id) ASSERT_EQ(model->Piece(id), library.IdToPiece(id));
  std::mt19937 random(7);
  for (int i = 0; i < texts; ++i) {
    const std::string text =
        i % 4 == 0 ? RandomLongText(random, *model) : RandomText(random, *model);
    std::vector<int> expected;
    ASSERT_TRUE(library.Encode(text, &expected).ok());
    std::vector<int32_t> ids;
    model->Encode(text, &ids);
    ASSERT_EQ(ids, std::vector<int32_t>(expected.begin(), expected.end())) << text;
    CheckLimits(random, *model, text, ids);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(SentencePieceTest, EncodesAsTheLibraryDoes) { CompareWithLibrary(DemoModel(), 3000); }

// The bundled equivalent is the test above.
TEST(SentencePieceTest, EncodesAsTheLibraryDoesWithLlama2sVocabulary) {
  const std::string path = SourceDir() + "/../shared/data/llama2-tokenizer/tokenizer.model";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "Llama 2's tokenizer is not at hand";
  CompareWithLibrary(path, 1000);
}

TEST(SentencePieceTest, TheLastTokensOfALongTextAreThoseOfTheWholeText) {
  std::string error;
  const auto model = SentencePieceModel::Parse(Read(DemoModel()), &error);
  ASSERT_NE(model, nullptr) << error;
  std::mt19937 random(11);
  std::string text;
  while (text.size() < 300000) text += RandomText(random, *model) + " ";
  std::vector<int32_t> whole;
  model->Encode(text, &whole);
  for (const size_t count : {size_t{1}, size_t{10}, size_t{500}, whole.size() - 1, whole.size()}) {
    std::vector<int32_t> ids;
    ASSERT_TRUE(model->EncodeLast(text, count, &ids));
    EXPECT_EQ(ids,
              std::vector<int32_t>(whole.end() - static_cast<std::ptrdiff_t>(count), whole.end()));
  }
  // Some piece holds "ee", so there is nowhere to cut.
  const std::string endless = text + std::string(300000, 'e');
  std::vector<int32_t> ids;
  EXPECT_FALSE(model->EncodeLast(endless, 10, &ids));
  EXPECT_TRUE(model->EncodeLast(endless + " the end", 2, &ids));
  EXPECT_EQ(ids.size(), 2u);
}

TEST(SentencePieceTest, KnowsTheKindsOfPieces) {
  std::string error;
  const auto model = SentencePieceModel::Parse(Read(DemoModel()), &error);
  ASSERT_NE(model, nullptr) << error;
  EXPECT_EQ(model->KindOf(0), SentencePieceModel::Kind::kUnknown);
  EXPECT_EQ(model->KindOf(1), SentencePieceModel::Kind::kControl);
  EXPECT_EQ(model->KindOf(3), SentencePieceModel::Kind::kByte);
  EXPECT_EQ(model->KindOf(model->size() - 1), SentencePieceModel::Kind::kText);
}

TEST(SentencePieceTest, EveryTruncationIsRefusedOrStillAModel) {
  const std::string bytes = Read(DemoModel());
  int refused = 0;
  for (size_t size = 0; size < bytes.size(); size += 97) {
    std::string error;
    const auto model = SentencePieceModel::Parse(std::string_view(bytes).substr(0, size), &error);
    EXPECT_EQ(model == nullptr, !error.empty());
    refused += model == nullptr;
  }
  EXPECT_GT(refused, 200);
}

// One field of a message: `tag` is field number and wire type.
std::string Field(int number, const std::string& bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) +
         std::string(1, static_cast<char>(bytes.size())) + bytes;
}

TEST(SentencePieceTest, RefusesOtherKindsOfModelsByName) {
  const auto error_of = [](const std::string& bytes) {
    std::string error;
    EXPECT_EQ(SentencePieceModel::Parse(bytes, &error), nullptr);
    return error;
  };
  EXPECT_EQ(error_of(""), "it has no trainer_spec");
  EXPECT_EQ(error_of(Field(2, "\x18\x01")), "model_type is 1: only BPE (2) is served");
  EXPECT_EQ(error_of(Field(2, "\x18\x02")),
            "byte_fallback is false: only models with it are served");
  EXPECT_EQ(error_of(Field(3, Field(2, "x"))),
            "it normalises characters: only the identity is served");
  EXPECT_EQ(error_of(Field(3, "")), "remove_extra_whitespaces is true: that is not served");
  EXPECT_EQ(error_of(Field(1, Field(1, "<x>") + "\x18\x04")),
            "piece 0, '<x>', is of type 4: user-defined and unused pieces are not served");
  EXPECT_EQ(error_of("\x0f"), "it is truncated or malformed");
}

}  // namespace
}  // namespace skipstone
