#include "engine/model/sentence_piece.h"

#include <algorithm>
#include <cmath>
#include <queue>

#include "absl/strings/str_format.h"
#include "engine/base/utf8.h"
#include "engine/model/wire_reader.h"

namespace skipstone {
namespace {

constexpr std::string_view kBlank = "\u2581";

// SentencePiece's sentencepiece_model.proto: ModelProto, SentencePiece.Type, ModelType.
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
enum TrainerField { kModelType = 3, kWhitespaceAsSuffix = 24, kByteFallback = 35 };
enum NormalizerField { kCharsMap = 2, kDummyPrefix = 3, kRemoveExtra = 4, kEscape = 5 };
constexpr uint64_t kUnigram = 1;
constexpr uint64_t kBpe = 2;

constexpr char kMalformed[] = "it is truncated or malformed";

// Bytes of the UTF-8 character that starts with `c`.
size_t CharBytes(char c) {
  const auto lead = static_cast<unsigned char>(c);
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// Of two neighbouring bytes.
size_t PairOf(char first, char second) {
  return static_cast<unsigned char>(first) * 256 + static_cast<unsigned char>(second);
}

// The byte that "<0x0A>" stands for; -1 for other texts.
int ByteOf(const std::string& piece) {
  const auto digit = [&](size_t at) {
    const char c = piece[at];
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  return digit(3) < 0 || digit(4) < 0 ? -1 : digit(3) * 16 + digit(4);
}

// A part of the text, in a doubly linked list.
struct Symbol {
  size_t begin;
  size_t bytes;  // 0: merged into the one before
  int prev;
  int next;
};

struct Merge {
  float score;
  int left;
  int right;
  size_t bytes;  // of both; others by now: outdated
};

struct LaterMerge {
  bool operator()(const Merge& a, const Merge& b) const {
    return a.score != b.score ? a.score < b.score : a.left > b.left;
  }
};

}  // namespace

std::unique_ptr<SentencePieceModel> SentencePieceModel::Parse(std::string_view bytes,
                                                              std::string* error) {
  std::unique_ptr<SentencePieceModel> model(new SentencePieceModel());
  bool trainer = false;
  WireReader reader(bytes);
  while (error->empty() && reader.Next()) {
    if (reader.field() == kPieces) {
      *error = model->AddPiece(reader.bytes());
    } else if (reader.field() == kTrainerSpec) {
      trainer = true;
      *error = model->CheckTrainer(reader.bytes());
    } else if (reader.field() == kNormalizerSpec) {
      *error = model->ReadNormalizer(reader.bytes());
    }
  }
  if (error->empty() && !reader.ok()) *error = kMalformed;
  if (error->empty() && !trainer) *error = "it has no trainer_spec";
  if (error->empty()) *error = model->Finish();
  return error->empty() ? std::move(model) : nullptr;
}

std::string SentencePieceModel::AddPiece(std::string_view message) {
  PieceInfo piece;
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
      piece.kind = Kind::kUnknown;
      break;
    case kControl:
      piece.kind = Kind::kControl;
      break;
    case kByte:
      piece.kind = Kind::kByte;
      break;
    default:
      return absl::StrFormat(
          "piece %d, '%s', is of type %d: user-defined and unused pieces are "
          "not served",
          pieces_.size(), piece.text, type);
  }
  if (piece.text.empty() || !IsValidUtf8(piece.text)) {
    return absl::StrFormat("piece %d is empty or not UTF-8", pieces_.size());
  }
  // Merges are ordered by it.
  if (!std::isfinite(piece.score)) {
    return absl::StrFormat("piece %d has the score %f", pieces_.size(), piece.score);
  }
  pieces_.push_back(std::move(piece));
  return "";
}

std::string SentencePieceModel::CheckTrainer(std::string_view message) {
  uint64_t type = kUnigram;
  bool byte_fallback = false;
  bool suffix = false;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kModelType) type = reader.varint();
    if (reader.field() == kByteFallback) byte_fallback = reader.varint() != 0;
    if (reader.field() == kWhitespaceAsSuffix) suffix = reader.varint() != 0;
  }
  if (!reader.ok()) return kMalformed;
  if (type != kBpe) return absl::StrFormat("model_type is %d: only BPE (2) is served", type);
  if (!byte_fallback) return "byte_fallback is false: only models with it are served";
  if (suffix) return "treat_whitespace_as_suffix is true: that is not served";
  return "";
}

std::string SentencePieceModel::ReadNormalizer(std::string_view message) {
  bool remove_extra = true;
  bool escape = true;
  bool has_map = false;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kCharsMap) has_map = !reader.bytes().empty();
    if (reader.field() == kDummyPrefix) add_dummy_prefix_ = reader.varint() != 0;
    if (reader.field() == kRemoveExtra) remove_extra = reader.varint() != 0;
    if (reader.field() == kEscape) escape = reader.varint() != 0;
  }
  if (!reader.ok()) return kMalformed;
  if (has_map) return "it normalises characters: only the identity is served";
  if (remove_extra) return "remove_extra_whitespaces is true: that is not served";
  if (!escape) return "escape_whitespaces is false: that is not served";
  return "";
}

std::string SentencePieceModel::Finish() {
  std::fill(std::begin(byte_ids_), std::end(byte_ids_), -1);
  for (int id = 0; id < size(); ++id) {
    const PieceInfo& piece = pieces_[id];
    longest_piece_bytes_ = std::max(longest_piece_bytes_, piece.text.size());
    for (size_t i = 1; i < piece.text.size(); ++i) {
      if (!IsContinuation(piece.text[i])) joined_.set(PairOf(piece.text[i - 1], piece.text[i]));
    }
    if (piece.kind == Kind::kText && !text_ids_.emplace(piece.text, id).second) {
      return absl::StrFormat("piece '%s' appears twice", piece.text);
    }
    if (piece.kind != Kind::kByte) continue;
    const int byte = ByteOf(piece.text);
    if (byte < 0) return absl::StrFormat("'%s' is no byte piece", piece.text);
    byte_ids_[byte] = id;
  }
  const auto missing = std::find(std::begin(byte_ids_), std::end(byte_ids_), -1);
  if (missing != std::end(byte_ids_)) {
    return absl::StrFormat("there is no piece for byte %d", missing - std::begin(byte_ids_));
  }
  return "";
}

void SentencePieceModel::AppendIds(std::string_view piece, std::vector<int32_t>* ids) const {
  const auto it = text_ids_.find(piece);
  if (it != text_ids_.end()) {
    ids->push_back(it->second);
    return;
  }
  for (const char c : piece) ids->push_back(byte_ids_[static_cast<unsigned char>(c)]);
}

std::string SentencePieceModel::Escaped(std::string_view text, bool prefix) const {
  std::string escaped;
  escaped.reserve(text.size() * 3 / 2 + kBlank.size());
  if (prefix) escaped += kBlank;
  for (const char c : text) c == ' ' ? escaped.append(kBlank) : escaped.append(1, c);
  return escaped;
}

bool SentencePieceModel::IsCut(std::string_view escaped, size_t at) const {
  return !IsContinuation(escaped[at]) && !joined_[PairOf(escaped[at - 1], escaped[at])];
}

void SentencePieceModel::Encode(std::string_view text, std::vector<int32_t>* ids,
                                size_t limit) const {
  if (text.empty()) return;
  const std::string buffer = Escaped(text, add_dummy_prefix_);
  const std::string_view escaped = buffer;
  for (size_t begin = 0; begin < escaped.size() && ids->size() <= limit;) {
    size_t end = begin + 1;
    while (end < escaped.size() && !IsCut(escaped, end)) ++end;
    EncodeStretch(escaped.substr(begin, end - begin), ids);
    begin = end;
  }
}

bool SentencePieceModel::EncodeLast(std::string_view text, size_t count,
                                    std::vector<int32_t>* ids) const {
  ids->clear();
  if (text.empty()) return true;
  // After a cut among the first kMaxStretchBytes of so many there are `count` tokens at least.
  const size_t most = std::min(count, text.size()) * longest_piece_bytes_ + kMaxStretchBytes;
  const bool whole = text.size() <= most;
  if (!whole) text.remove_prefix(text.size() - most);
  while (!whole && IsContinuation(text.front())) text.remove_prefix(1);
  const std::string buffer = Escaped(text, whole && add_dummy_prefix_);
  const std::string_view escaped = buffer;
  std::vector<int32_t> stretch;
  for (size_t end = escaped.size(); end > 0 && ids->size() < count;) {
    size_t begin = end - 1;
    while (begin > 0 && !IsCut(escaped, begin)) --begin;
    if (begin == 0 && !whole) return false;
    stretch.clear();
    EncodeStretch(escaped.substr(begin, end - begin), &stretch);
    ids->insert(ids->end(), stretch.rbegin(), stretch.rend());
    end = begin;
  }
  ids->resize(std::min(count, ids->size()));
  std::reverse(ids->begin(), ids->end());
  return true;
}

void SentencePieceModel::EncodeStretch(std::string_view escaped, std::vector<int32_t>* ids) const {
  std::vector<Symbol> symbols;
  for (size_t at = 0; at < escaped.size();) {
    const size_t bytes = std::min(CharBytes(escaped[at]), escaped.size() - at);
    const int index = static_cast<int>(symbols.size());
    symbols.push_back({at, bytes, index - 1, index + 1});
    at += bytes;
  }
  symbols.back().next = -1;

  std::priority_queue<Merge, std::vector<Merge>, LaterMerge> merges;
  const auto consider = [&](int left, int right) {
    if (left < 0 || right < 0) return;
    const size_t bytes = symbols[left].bytes + symbols[right].bytes;
    const auto it = text_ids_.find(escaped.substr(symbols[left].begin, bytes));
    if (it != text_ids_.end()) merges.push({pieces_[it->second].score, left, right, bytes});
  };
  for (size_t i = 1; i < symbols.size(); ++i)
    consider(static_cast<int>(i) - 1, static_cast<int>(i));
  while (!merges.empty()) {
    const Merge merge = merges.top();
    merges.pop();
    Symbol& left = symbols[merge.left];
    Symbol& right = symbols[merge.right];
    if (left.bytes == 0 || right.bytes == 0 || left.bytes + right.bytes != merge.bytes) continue;
    left.bytes = merge.bytes;
    right.bytes = 0;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].prev = merge.left;
    consider(left.prev, merge.left);
    consider(merge.left, left.next);
  }
  for (int i = 0; i >= 0; i = symbols[i].next) {
    AppendIds(escaped.substr(symbols[i].begin, symbols[i].bytes), ids);
  }
}

}  // namespace skipstone
