#include "engine/model/sentence_piece.h"

#include <algorithm>
#include <cmath>
#include <queue>

#include "absl/strings/str_format.h"
#include "base/utf8.h"

namespace skipstone {
namespace {

constexpr std::string_view kBlank = "\u2581";

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

struct Merge {
  float score;
  int left;
  int right;
  size_t bytes;  // of both; others by now: outdated
};

// Names a merge by what it makes and by where that is cut.
uint64_t MergeKey(int32_t piece, size_t left_bytes) {
  return static_cast<uint64_t>(piece) << 32 | left_bytes;
}

struct LaterMerge {
  bool operator()(const Merge& a, const Merge& b) const {
    return a.score != b.score ? a.score < b.score : a.left > b.left;
  }
};

}  // namespace

// A part of the text, in a doubly linked list.
struct SentencePieceModel::Symbol {
  size_t begin;
  size_t bytes;  // 0: merged into the one before
  int prev;
  int next;
  bool whole;  // a user-defined piece: it is not merged
};

std::unique_ptr<SentencePieceModel> SentencePieceModel::Make(SentencePieceSpec spec,
                                                             std::string* error) {
  std::unique_ptr<SentencePieceModel> model(new SentencePieceModel());
  model->spec_ = std::move(spec);
  std::fill(std::begin(model->byte_ids_), std::end(model->byte_ids_), -1);
  std::vector<std::pair<std::string, int32_t>> user_defined;
  for (int id = 0; id < model->size() && error->empty(); ++id) {
    *error = model->AddPiece(id);
    if (model->KindOf(id) == Kind::kUserDefined) user_defined.emplace_back(model->Piece(id), id);
  }
  if (!error->empty()) return nullptr;
  model->user_defined_ = PrefixMatcher(std::move(user_defined));
  *error = model->CheckFallback();
  if (!error->empty()) return nullptr;
  model->AddMerges();
  return model;
}

std::string SentencePieceModel::CheckFallback() const {
  if (!spec_.byte_fallback) {
    return unknown_id_ >= 0 ? "" : "there is neither byte fallback nor an unknown piece";
  }
  const auto missing = std::find(std::begin(byte_ids_), std::end(byte_ids_), -1);
  if (missing == std::end(byte_ids_)) return "";
  return absl::StrFormat("there is no piece for byte %d", missing - std::begin(byte_ids_));
}

std::string SentencePieceModel::AddPiece(int id) {
  const SentencePieceSpec::Piece& piece = spec_.pieces[id];
  if (piece.text.empty() || !IsValidUtf8(piece.text)) {
    return absl::StrFormat("piece %d is empty or not UTF-8", id);
  }
  // Merges are ordered by it.
  if (!std::isfinite(piece.score)) {
    return absl::StrFormat("piece %d has the score %f", id, piece.score);
  }
  if (piece.kind == Kind::kText || piece.kind == Kind::kUserDefined) {
    if (!text_ids_.emplace(piece.text, id).second) {
      return absl::StrFormat("piece '%s' appears twice", piece.text);
    }
    longest_piece_bytes_ = std::max(longest_piece_bytes_, piece.text.size());
    for (size_t i = 1; i < piece.text.size(); ++i) {
      if (!IsContinuation(piece.text[i])) joined_.set(PairOf(piece.text[i - 1], piece.text[i]));
    }
  } else if (piece.kind == Kind::kByte) {
    const int byte = ByteOf(piece.text);
    if (byte < 0) return absl::StrFormat("'%s' is no byte piece", piece.text);
    byte_ids_[byte] = id;
  } else if (piece.kind == Kind::kUnknown) {
    if (unknown_id_ >= 0) return absl::StrFormat("pieces %d and %d are unknown", unknown_id_, id);
    unknown_id_ = id;
  }
  return "";
}

void SentencePieceModel::AddMerges() {
  for (size_t rank = 0; rank < spec_.merges.size(); ++rank) {
    const auto& [left, right] = spec_.merges[rank];
    const auto merged = text_ids_.find(left + right);
    // Of a control token, which is never made from text.
    if (merged == text_ids_.end()) continue;
    merge_scores_[MergeKey(merged->second, left.size())] = -static_cast<float>(rank);
  }
  spec_.merges = {};
}

std::string SentencePieceModel::Escaped(std::string_view text, bool prefix) const {
  const bool remove = spec_.remove_extra_blanks;
  if (remove) text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::string escaped;
  if (text.empty()) return escaped;
  escaped.reserve(text.size() * 3 / 2 + kBlank.size());
  if (prefix && spec_.add_dummy_prefix) escaped += kBlank;
  char before = '\0';
  for (const char c : text) {
    if (c != ' ') {
      escaped += c;
    } else if (!remove || before != ' ') {
      escaped += kBlank;
    }
    before = c;
  }
  while (remove && escaped.ends_with(kBlank)) escaped.resize(escaped.size() - kBlank.size());
  return escaped;
}

SentencePieceModel::Seam SentencePieceModel::SeamAt(std::string_view escaped, size_t at) const {
  if (at == 0 || at == escaped.size()) return Seam::kWord;
  if (IsContinuation(escaped[at])) return Seam::kNone;
  if (spec_.split_at_blanks && escaped.substr(at).starts_with(kBlank)) return Seam::kWord;
  return joined_[PairOf(escaped[at - 1], escaped[at])] ? Seam::kNone : Seam::kCut;
}

size_t SentencePieceModel::LeastIds(std::string_view escaped) const {
  size_t known = escaped.size();
  if (!spec_.byte_fallback) {
    // Any number of characters that are no pieces may be one unknown piece.
    known = 0;
    for (size_t at = 0; at < escaped.size();) {
      const std::string_view character = escaped.substr(at, CharBytes(escaped[at]));
      if (text_ids_.contains(character)) known += character.size();
      at += character.size();
    }
  }
  return known / longest_piece_bytes_;
}

size_t SentencePieceModel::Encode(std::string_view text, std::vector<int32_t>* ids, size_t limit,
                                  bool prefix) const {
  const std::string buffer = Escaped(text, prefix);
  const std::string_view escaped = buffer;
  const size_t least = ids->size() + LeastIds(escaped);
  if (least > limit) return least;
  for (size_t begin = 0, end = 0; begin < escaped.size() && ids->size() <= limit; begin = end) {
    for (end = begin + 1; SeamAt(escaped, end) == Seam::kNone;) ++end;
    const size_t first = ids->size();
    EncodeStretch(escaped, begin, end, ids);
    if (SeamAt(escaped, begin) == Seam::kCut && (*ids)[first] == unknown_id_ &&
        (*ids)[first - 1] == unknown_id_) {
      ids->erase(ids->begin() + static_cast<std::ptrdiff_t>(first));
    }
  }
  return ids->size();
}

bool SentencePieceModel::EncodeLast(std::string_view text, size_t count, std::vector<int32_t>* ids,
                                    bool prefix) const {
  ids->clear();
  const std::string buffer = Escaped(text, prefix);
  const std::string_view escaped = buffer;
  // Whoever asks for more pays for more.
  const size_t most = std::min(count, escaped.size()) * longest_piece_bytes_ + kMaxStretchBytes;
  std::vector<int32_t> stretch;
  for (size_t end = escaped.size(), begin = 0; end > 0 && ids->size() < count; end = begin) {
    for (begin = end - 1; SeamAt(escaped, begin) == Seam::kNone;) --begin;
    if (end - begin > most) return false;
    stretch.clear();
    EncodeStretch(escaped, begin, end, &stretch);
    if (SeamAt(escaped, end) == Seam::kCut && stretch.back() == unknown_id_ &&
        ids->back() == unknown_id_) {
      stretch.pop_back();
    }
    ids->insert(ids->end(), stretch.rbegin(), stretch.rend());
  }
  ids->resize(std::min(count, ids->size()));
  std::reverse(ids->begin(), ids->end());
  return true;
}

void SentencePieceModel::EncodeStretch(std::string_view escaped, size_t begin, size_t end,
                                       std::vector<int32_t>* ids) const {
  const std::string_view stretch = escaped.substr(begin, end - begin);
  // A piece has no cut in it, so a word that is one is one stretch.
  if (spec_.whole_words && SeamAt(escaped, begin) == Seam::kWord &&
      SeamAt(escaped, end) == Seam::kWord && text_ids_.contains(stretch)) {
    return AppendIds(stretch, ids);
  }
  std::vector<Symbol> symbols = SymbolsOf(stretch);
  MergeSymbols(stretch, &symbols);
  const size_t first = ids->size();
  for (int i = 0; i >= 0; i = symbols[i].next) {
    AppendIds(stretch.substr(symbols[i].begin, symbols[i].bytes), ids);
    // Unknown characters side by side are one unknown piece.
    if (ids->size() - first >= 2 && ids->back() == unknown_id_ &&
        (*ids)[ids->size() - 2] == unknown_id_) {
      ids->pop_back();
    }
  }
}

std::vector<SentencePieceModel::Symbol> SentencePieceModel::SymbolsOf(
    std::string_view stretch) const {
  std::vector<Symbol> symbols;
  for (size_t at = 0; at < stretch.size();) {
    const size_t whole =
        user_defined_.empty() ? 0 : user_defined_.Longest(stretch.substr(at)).bytes;
    const size_t bytes = whole > 0 ? whole : std::min(CharBytes(stretch[at]), stretch.size() - at);
    const int index = static_cast<int>(symbols.size());
    symbols.push_back({at, bytes, index - 1, index + 1, whole > 0});
    at += bytes;
  }
  symbols.back().next = -1;
  return symbols;
}

const float* SentencePieceModel::MergeScore(std::string_view stretch, const Symbol& left,
                                            const Symbol& right) const {
  if (left.whole || right.whole) return nullptr;
  const auto it = text_ids_.find(stretch.substr(left.begin, left.bytes + right.bytes));
  if (it == text_ids_.end()) return nullptr;
  if (!spec_.listed_merges) return &spec_.pieces[it->second].score;
  const auto merge = merge_scores_.find(MergeKey(it->second, left.bytes));
  return merge == merge_scores_.end() ? nullptr : &merge->second;
}

void SentencePieceModel::MergeSymbols(std::string_view stretch, std::vector<Symbol>* all) const {
  std::vector<Symbol>& symbols = *all;
  std::priority_queue<Merge, std::vector<Merge>, LaterMerge> merges;
  const auto consider = [&](int left, int right) {
    if (left < 0 || right < 0) return;
    const float* const score = MergeScore(stretch, symbols[left], symbols[right]);
    if (score == nullptr) return;
    merges.push({*score, left, right, symbols[left].bytes + symbols[right].bytes});
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
}

void SentencePieceModel::AppendIds(std::string_view piece, std::vector<int32_t>* ids) const {
  const auto it = text_ids_.find(piece);
  if (it != text_ids_.end()) {
    ids->push_back(it->second);
  } else if (spec_.byte_fallback) {
    for (const char c : piece) ids->push_back(byte_ids_[static_cast<unsigned char>(c)]);
  } else {
    ids->push_back(unknown_id_);
  }
}

}  // namespace skipstone
