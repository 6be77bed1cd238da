// A SentencePiece model of the kind that Llama 2 uses: BPE over unnormalised text, with byte
// fallback or without, read from a tokenizer.model or a tokenizer.json. Other kinds are refused.
// Immutable, so thread-safe.
//
// Our own, because Debian's libsentencepiece exports a private copy of protobuf whose symbols
// collide with the libprotobuf of gRPC: a program that links both dies before main. The tests
// compare this with that library.
#pragma once

#include <bitset>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/model/prefix_matcher.h"

namespace skipstone {

// What a file says of a model.
struct SentencePieceSpec {
  enum class Kind { kText, kUserDefined, kByte, kControl, kUnknown };
  struct Piece {
    std::string text;
    float score = 0;
    Kind kind = Kind::kText;
  };

  std::vector<Piece> pieces;  // by id
  bool byte_fallback = false;
  bool add_dummy_prefix = true;
  bool remove_extra_blanks = false;
  bool split_at_blanks = false;  // merges stay within words, each with the blank before it
  bool whole_words = false;      // what is a piece as a whole is taken as it is
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";
  std::string unknown_surface = " \u2047 ";  // what the unknown piece decodes to
  // True: only what `merges` lists may be merged, the first of them best. False: whatever makes a
  // piece may, and the score of that piece says how good it is.
  bool listed_merges = false;
  std::vector<std::pair<std::string, std::string>> merges;
};

class SentencePieceModel {
 public:
  using Kind = SentencePieceSpec::Kind;

  // Parses the bytes of a tokenizer.model. Null, with the reason in `error`, if they are none or
  // of a kind that is not served.
  static std::unique_ptr<SentencePieceModel> Parse(std::string_view bytes, std::string* error);
  // Null, with the reason in `error`, if the pieces contradict each other.
  static std::unique_ptr<SentencePieceModel> Make(SentencePieceSpec spec, std::string* error);

  SentencePieceModel(const SentencePieceModel&) = delete;
  SentencePieceModel& operator=(const SentencePieceModel&) = delete;

  // Appends the ids of `text`, which is UTF-8: a blank is put in front of it (unless `prefix` or
  // the model says no), user-defined pieces are taken as they are, then neighbouring pieces are
  // merged, the best-scored and leftmost first (Sennrich, Haddow, Birch 2016), until no merge is a
  // piece; a character that is no piece becomes its bytes or, without byte fallback, with its like
  // beside it the unknown piece. Works on stretches between places that no merge can cross, so
  // O(n log stretch). Returns how many `ids` there are then; where they exceed `limit` it stops,
  // at once if their number is plain from the text's size, and returns how many there are at least.
  size_t Encode(std::string_view text, std::vector<int32_t>* ids,
                size_t limit = std::numeric_limits<size_t>::max(), bool prefix = true) const;
  // Sets `ids` to the last `count` of those, or to all if there are fewer, and merges no more of
  // the text than that needs. False if that is more than kMaxStretchBytes without a place to cut.
  bool EncodeLast(std::string_view text, size_t count, std::vector<int32_t>* ids,
                  bool prefix = true) const;
  static constexpr size_t kMaxStretchBytes = 1 << 16;

  // No piece that is made from text is longer.
  size_t longest_piece_bytes() const { return longest_piece_bytes_; }

  int size() const { return static_cast<int>(spec_.pieces.size()); }
  // 0 <= id < size().
  const std::string& Piece(int id) const { return spec_.pieces[id].text; }
  Kind KindOf(int id) const { return spec_.pieces[id].kind; }
  const SentencePieceSpec& spec() const { return spec_; }

 private:
  struct Symbol;

  SentencePieceModel() = default;
  // These two return what is wrong, or nothing.
  std::string AddPiece(int id);
  std::string CheckFallback() const;
  void AddMerges();

  // What lies between two neighbouring bytes. kCut: two characters of which no piece holds one
  // directly after the other. kWord: the text's ends, and words where merges stay within them.
  enum class Seam { kNone, kCut, kWord };

  std::string Escaped(std::string_view text, bool prefix) const;
  Seam SeamAt(std::string_view escaped, size_t at) const;
  // No encoding of this has fewer ids.
  size_t LeastIds(std::string_view escaped) const;
  // Of what lies between two seams without one in it.
  void EncodeStretch(std::string_view escaped, size_t begin, size_t end,
                     std::vector<int32_t>* ids) const;
  void MergeSymbols(std::string_view stretch, std::vector<Symbol>* symbols) const;
  std::vector<Symbol> SymbolsOf(std::string_view stretch) const;
  // The score of the piece that both make; nothing if they may not be merged.
  const float* MergeScore(std::string_view stretch, const Symbol& left, const Symbol& right) const;
  void AppendIds(std::string_view piece, std::vector<int32_t>* ids) const;

  SentencePieceSpec spec_;
  std::unordered_map<std::string_view, int32_t> text_ids_;  // views into spec_.pieces
  std::unordered_map<uint64_t, float> merge_scores_;        // by MergeKey; of listed merges
  PrefixMatcher user_defined_;
  int32_t byte_ids_[256];
  int32_t unknown_id_ = -1;
  // By the last byte of a character and the first of the next: some piece holds them so.
  std::bitset<256 * 256> joined_;
  size_t longest_piece_bytes_ = 1;
};

}  // namespace skipstone
