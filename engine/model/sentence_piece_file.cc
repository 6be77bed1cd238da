// Reads a tokenizer.model: SentencePiece's sentencepiece_model.proto.
#include <cmath>

#include "absl/strings/str_format.h"
#include "base/utf8.h"
#include "engine/model/sentence_piece.h"
#include "engine/model/wire_reader.h"

namespace skipstone {
namespace {

// ModelProto, SentencePiece.Type, ModelType.
enum ModelField { kPieces = 1, kTrainerSpec = 2, kNormalizerSpec = 3 };
enum PieceField { kText = 1, kScore = 2, kType = 3 };
enum PieceType {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};
enum TrainerField {
  kModelType = 3,
  kWhitespaceAsSuffix = 24,
  kByteFallback = 35,
  kUnknownSurface = 44,
  kBosPiece = 46,
  kEosPiece = 47
};
enum NormalizerField { kCharsMap = 2, kDummyPrefix = 3, kRemoveExtra = 4, kEscape = 5 };
constexpr uint64_t kUnigram = 1;
constexpr uint64_t kBpe = 2;

constexpr char kMalformed[] = "it is truncated or malformed";

// Returns what is wrong, or nothing.
std::string ReadPiece(std::string_view message, SentencePieceSpec* spec) {
  SentencePieceSpec::Piece piece;
  uint64_t type = kNormal;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kText) piece.text = std::string(reader.bytes());
    if (reader.field() == kScore) piece.score = reader.float32();
    if (reader.field() == kType) type = reader.varint();
  }
  if (!reader.ok()) return kMalformed;
  switch (type) {
    case kNormal:
      break;
    case kUnknown:
      piece.kind = SentencePieceSpec::Kind::kUnknown;
      break;
    case kControl:
      piece.kind = SentencePieceSpec::Kind::kControl;
      break;
    case kUserDefined:
      piece.kind = SentencePieceSpec::Kind::kUserDefined;
      break;
    case kByte:
      piece.kind = SentencePieceSpec::Kind::kByte;
      break;
    default:
      return absl::StrFormat("piece %d, '%s', is of type %d: that type is not served",
                             spec->pieces.size(), piece.text, type);
  }
  spec->pieces.push_back(std::move(piece));
  return "";
}

// Fields of a message that comes twice add up, as protobuf has it; so what is read lies outside.
struct Settings {
  bool trainer = false;
  uint64_t model_type = kUnigram;
  bool suffix = false;
  bool has_map = false;
  bool escape = true;
};

std::string ReadTrainer(std::string_view message, SentencePieceSpec* spec, Settings* settings) {
  settings->trainer = true;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kModelType) settings->model_type = reader.varint();
    if (reader.field() == kByteFallback) spec->byte_fallback = reader.varint() != 0;
    if (reader.field() == kWhitespaceAsSuffix) settings->suffix = reader.varint() != 0;
    if (reader.field() == kUnknownSurface) spec->unknown_surface = std::string(reader.bytes());
    if (reader.field() == kBosPiece) spec->bos_piece = std::string(reader.bytes());
    if (reader.field() == kEosPiece) spec->eos_piece = std::string(reader.bytes());
  }
  return reader.ok() ? "" : kMalformed;
}

std::string ReadNormalizer(std::string_view message, SentencePieceSpec* spec, Settings* settings) {
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kCharsMap) settings->has_map = !reader.bytes().empty();
    if (reader.field() == kDummyPrefix) spec->add_dummy_prefix = reader.varint() != 0;
    if (reader.field() == kRemoveExtra) spec->remove_extra_blanks = reader.varint() != 0;
    if (reader.field() == kEscape) settings->escape = reader.varint() != 0;
  }
  return reader.ok() ? "" : kMalformed;
}

std::string CheckKind(const Settings& settings) {
  if (!settings.trainer) return "it has no trainer_spec";
  if (settings.model_type != kBpe) {
    return absl::StrFormat("model_type is %d: only BPE (2) is served", settings.model_type);
  }
  if (settings.suffix) return "treat_whitespace_as_suffix is true: that is not served";
  if (settings.has_map) return "it normalises characters: only the identity is served";
  if (!settings.escape) return "escape_whitespaces is false: that is not served";
  return "";
}

}  // namespace

std::unique_ptr<SentencePieceModel> SentencePieceModel::Parse(std::string_view bytes,
                                                              std::string* error) {
  SentencePieceSpec spec;
  spec.remove_extra_blanks = true;  // the format's default
  Settings settings;
  WireReader reader(bytes);
  while (error->empty() && reader.Next()) {
    if (reader.field() == kPieces) *error = ReadPiece(reader.bytes(), &spec);
    if (reader.field() == kTrainerSpec) *error = ReadTrainer(reader.bytes(), &spec, &settings);
    if (reader.field() == kNormalizerSpec) {
      *error = ReadNormalizer(reader.bytes(), &spec, &settings);
    }
  }
  if (error->empty() && !reader.ok()) *error = kMalformed;
  if (error->empty()) *error = CheckKind(settings);
  return error->empty() ? Make(std::move(spec), error) : nullptr;
}

}  // namespace skipstone
