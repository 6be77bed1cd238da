// Reads a tokenizer.model: SentencePiece's sentencepiece_model.proto.
#include <bit>
#include <map>

#include "absl/strings/str_format.h"
#include "engine/model/sentence_piece.h"

namespace skipstone {
namespace {

// Walks the fields of a message in Protocol Buffers' wire format. The engine knows no protobuf, and
// of one file's few fields needs no more than this.
//
//   WireReader reader(bytes);
//   while (reader.Next()) { if (reader.field() == 1) Use(reader.bytes()); }
//   if (!reader.ok()) ...
// A value of another wire type than the getter's reads as empty or 0. Views into the input.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}

  // Moves to the next field. False at the end, and on malformed input.
  bool Next() {
    varint_ = 0;
    bytes_ = {};
    if (rest_.empty() || !ok_) return false;
    uint64_t tag = 0;
    ok_ = ReadVarint(&tag);
    field_ = tag >> 3;
    switch (tag & 7) {
      case 0:
        ok_ = ok_ && ReadVarint(&varint_);
        break;
      case 1:
        ok_ = ok_ && Take(8);
        break;
      case 2: {
        uint64_t size = 0;
        ok_ = ok_ && ReadVarint(&size) && Take(size);
        break;
      }
      case 5:
        ok_ = ok_ && Take(4);
        break;
      default:
        ok_ = false;
    }
    return ok_;
  }

  bool ok() const { return ok_; }
  uint64_t field() const { return field_; }
  uint64_t varint() const { return varint_; }
  std::string_view bytes() const { return bytes_; }
  // Little-endian, as on the wire.
  float float32() const {
    if (bytes_.size() != 4) return 0;
    uint32_t bits = 0;
    for (int i = 3; i >= 0; --i) bits = bits << 8 | static_cast<uint8_t>(bytes_[i]);
    return std::bit_cast<float>(bits);
  }

 private:
  bool Take(uint64_t size) {
    if (size > rest_.size()) return false;
    bytes_ = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  bool ReadVarint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return false;
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  std::string_view rest_;
  bool ok_ = true;
  uint64_t field_ = 0;
  uint64_t varint_ = 0;
  std::string_view bytes_;
};

// ModelProto, ModelType.
enum ModelField { kPieces = 1, kTrainerSpec = 2, kNormalizerSpec = 3 };
enum PieceField { kText = 1, kScore = 2, kType = 3 };
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
  using Kind = SentencePieceSpec::Kind;
  // By SentencePiece.Type; unused pieces, 5, are not served.
  static const std::map<uint64_t, Kind> kKinds = {{1, Kind::kText},
                                                  {2, Kind::kUnknown},
                                                  {3, Kind::kControl},
                                                  {4, Kind::kUserDefined},
                                                  {6, Kind::kByte}};
  SentencePieceSpec::Piece piece;
  uint64_t type = 1;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kText) piece.text = std::string(reader.bytes());
    if (reader.field() == kScore) piece.score = reader.float32();
    if (reader.field() == kType) type = reader.varint();
  }
  if (!reader.ok()) return kMalformed;
  const auto kind = kKinds.find(type);
  if (kind == kKinds.end()) {
    return absl::StrFormat("piece %d, '%s', is of type %d: that type is not served",
                           spec->pieces.size(), piece.text, type);
  }
  piece.kind = kind->second;
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
