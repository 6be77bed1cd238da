// Against the SentencePiece library itself. No test here may use protobuf, with whose symbols that
// library's private copy collides.
#include "engine/model/sentence_piece.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "gtest/gtest.h"
#include "tests/support/decoded_texts.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

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
  const size_t least = model.Encode(text, &ids, limit);
  ASSERT_EQ(least > limit, whole.size() > limit) << text;
  ASSERT_LE(least, whole.size()) << text;
  ASSERT_LE(ids.size(), whole.size());
  ASSERT_TRUE(std::equal(ids.begin(), ids.end(), whole.begin())) << text;
  ASSERT_TRUE(model.EncodeLast(text, limit, &ids));
  const size_t kept = std::min(limit, whole.size());
  ASSERT_EQ(ids, std::vector<int32_t>(whole.end() - static_cast<std::ptrdiff_t>(kept), whole.end()))
      << text;
}

// One field of a message: `tag` is field number and wire type.
std::string Field(int number, const std::string& bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) +
         std::string(1, static_cast<char>(bytes.size())) + bytes;
}

// A file that goes on behind another adds pieces to it and overrules its settings.
std::string UserDefined(const std::string& piece) { return Field(1, Field(1, piece) + "\x18\x04"); }
const std::string kRemoveExtraBlanks = Field(3, "\x20\x01");
const std::string kNoDummyPrefix = Field(3, std::string("\x18\x00", 2));

void CompareTexts(const SentencePieceModel& model,
                  const sentencepiece::SentencePieceProcessor& library, int texts,
                  const std::vector<std::string>& more) {
  std::mt19937 random(7);
  for (int i = 0; i < texts; ++i) {
    std::string text = i % 4 == 0 ? RandomLongText(random, model) : RandomText(random, model);
    for (unsigned k = more.empty() ? 0 : random() % 4; k > 0; --k) {
      text += more[random() % more.size()] + RandomText(random, model);
    }
    std::vector<int> expected;
    ASSERT_TRUE(library.Encode(text, &expected).ok());
    std::vector<int32_t> ids;
    model.Encode(text, &ids);
    ASSERT_EQ(ids, std::vector<int32_t>(expected.begin(), expected.end())) << text;
    CheckLimits(random, model, text, ids);
    if (testing::Test::HasFatalFailure()) return;
  }
}

void CompareWithLibrary(const std::string& bytes, int texts,
                        const std::vector<std::string>& more = {}) {
  std::string error;
  const auto model = SentencePieceModel::Parse(bytes, &error);
  ASSERT_NE(model, nullptr) << error;
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto(bytes).ok());
  ASSERT_EQ(model->size(), library.GetPieceSize());
  for (int id = 0; id < model->size(); ++id) ASSERT_EQ(model->Piece(id), library.IdToPiece(id));
  CompareTexts(*model, library, texts, more);
}

TEST(SentencePieceTest, EncodesAsTheLibraryDoes) { CompareWithLibrary(Read(DemoModel()), 3000); }

// The bundled equivalent is the test above.
TEST(SentencePieceTest, EncodesAsTheLibraryDoesWithLlama2sVocabulary) {
  const std::string path = SourceDir() + "/../shared/data/llama2-tokenizer/tokenizer.model";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "Llama 2's tokenizer is not at hand";
  CompareWithLibrary(Read(path), 1000);
}

TEST(SentencePieceTest, TakesUserDefinedPiecesBeforeAnyMerge) {
  std::string bytes = Read(DemoModel());
  const std::vector<std::string> pieces = {
      "<|im_start|>", "<|im_start|>x", "<|im", "\u2581\u2581", "LORD God", "he t", "\u00E9\u00E9"};
  for (const std::string& piece : pieces) bytes += UserDefined(piece);
  CompareWithLibrary(bytes, 2000,
                     {"<|im_start|>", "<|im_start|>x", "<|im_", "  ", "LORD God", "the the ",
                      "\u00E9\u00E9\u00E9"});
}

TEST(SentencePieceTest, MakesUnknownCharactersOnePieceWithoutByteFallback) {
  std::string error;
  const auto demo = SentencePieceModel::Parse(Read(DemoModel()), &error);
  ASSERT_NE(demo, nullptr) << error;
  std::string bytes = Field(2, "\x18\x02") + Field(3, std::string("\x20\x00", 2));
  for (const SentencePieceSpec::Piece& piece : demo->spec().pieces) {
    if (piece.kind == SentencePieceModel::Kind::kByte) continue;
    const char type = piece.kind == SentencePieceModel::Kind::kUnknown   ? 2
                      : piece.kind == SentencePieceModel::Kind::kControl ? 3
                                                                         : 1;
    char score[sizeof(float)];
    std::memcpy(score, &piece.score, sizeof(score));
    bytes += Field(1, Field(1, piece.text) + "\x15" + std::string(score, sizeof(score)) + "\x18" +
                          std::string(1, type));
  }
  CompareWithLibrary(bytes, 3000, {"\u6211\u60F3", "\u6211 \u60F3", "\u2047", "\n\n"});
}

TEST(SentencePieceTest, RemovesExtraBlanksWhereTheModelSaysSo) {
  const std::vector<std::string> blanks = {" ", "  ", "   ", "\u2581", " \n ", "\u3000", "\t"};
  CompareWithLibrary(Read(DemoModel()) + kRemoveExtraBlanks, 3000, blanks);
  CompareWithLibrary(Read(DemoModel()) + kRemoveExtraBlanks + kNoDummyPrefix, 3000, blanks);
}

TEST(SentencePieceTest, PutsNoBlankInFrontWhereTheModelSaysSo) {
  CompareWithLibrary(Read(DemoModel()) + kNoDummyPrefix, 1000);
}

// Also of bytes that are no characters, in rows and cut off.
void CompareDecoding(const std::string& bytes) {
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto(bytes).ok());
  std::mt19937 random(3);
  std::vector<std::vector<int32_t>> lists(5000);
  for (std::vector<int32_t>& ids : lists) {
    for (unsigned k = random() % 12; k > 0; --k) {
      const int below = random() % 2 == 0 ? 259 : library.GetPieceSize();
      ids.push_back(random() % 4 == 0 ? library.PieceToId("\u2581")
                                      : static_cast<int32_t>(random() % below));
      // To the library they part the bytes of a character, to Hugging Face they do not.
      if (ids.size() > 1 && library.IsControl(ids.back())) ids.pop_back();
    }
  }
  const TempDir dir;
  dir.Write("tokenizer.model", bytes);
  const std::vector<DecodedText> texts = DecodedTexts(dir.path(), lists);
  ASSERT_EQ(texts.size(), lists.size());
  for (size_t i = 0; i < lists.size(); ++i) {
    std::string expected;
    ASSERT_TRUE(library.Decode(lists[i], &expected).ok());
    ASSERT_EQ(texts[i].whole, expected) << testing::PrintToString(lists[i]);
    ASSERT_EQ(texts[i].streamed, expected) << testing::PrintToString(lists[i]);
  }
}

TEST(SentencePieceTest, DecodesAsTheLibraryDoes) {
  CompareDecoding(Read(DemoModel()));
  CompareDecoding(Read(DemoModel()) + kRemoveExtraBlanks);
  CompareDecoding(Read(DemoModel()) + kNoDummyPrefix);
  CompareDecoding(Read(DemoModel()) + UserDefined("\u2581<p>"));
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

TEST(SentencePieceTest, RefusesOtherKindsOfModelsByName) {
  const auto error_of = [](const std::string& bytes) {
    std::string error;
    EXPECT_EQ(SentencePieceModel::Parse(bytes, &error), nullptr);
    return error;
  };
  EXPECT_EQ(error_of(""), "it has no trainer_spec");
  EXPECT_EQ(error_of(Field(2, "\x18\x01")), "model_type is 1: only BPE (2) is served");
  EXPECT_EQ(error_of(Field(2, "\x18\x02")), "there is neither byte fallback nor an unknown piece");
  const std::string bpe = Field(2, "\x18\x02");
  EXPECT_EQ(error_of(bpe + Field(3, Field(2, "x"))),
            "it normalises characters: only the identity is served");
  EXPECT_EQ(error_of(bpe + Field(3, std::string("\x28\x00", 2))),
            "escape_whitespaces is false: that is not served");
  EXPECT_EQ(error_of(Field(1, Field(1, "<x>") + "\x18\x05")),
            "piece 0, '<x>', is of type 5: that type is not served");
  EXPECT_EQ(error_of(Read(DemoModel()) + UserDefined("<x>") + UserDefined("<x>")),
            "piece '<x>' appears twice");
  EXPECT_EQ(error_of(Read(DemoModel()) + Field(1, Field(1, "<x>") + "\x18\x02")),
            "pieces 0 and 2048 are unknown");
  EXPECT_EQ(error_of("\x0f"), "it is truncated or malformed");
}

}  // namespace
}  // namespace skipstone
