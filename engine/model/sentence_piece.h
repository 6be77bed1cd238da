// A SentencePiece model of the kind that Llama 2 uses: BPE with byte fallback over unnormalised
// text, read from a tokenizer.model. Other kinds are refused. Immutable, so thread-safe.
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
#include <vector>

namespace skipstone {

class SentencePieceModel {
 public:
  enum class Kind { kText, kByte, kControl, kUnknown };

  // Parses the bytes of a tokenizer.model. Null, with the reason in `error`, if they are none or
  // of a kind that is not served.
  static std::unique_ptr<SentencePieceModel> Parse(std::string_view bytes, std::string* error);

  SentencePieceModel(const SentencePieceModel&) = delete;
  SentencePieceModel& operator=(const SentencePieceModel&) = delete;

  // Appends the ids of `text`, which is UTF-8: a blank is put in front of it, then neighbouring
  // pieces are merged, the best-scored and leftmost first (Sennrich, Haddow, Birch 2016), until no
  // merge is a piece; a character that is no piece becomes its bytes. Works on stretches between
  // places that no merge can cross, so O(n log stretch), and stops where `ids` exceeds `limit`.
  void Encode(std::string_view text, std::vector<int32_t>* ids,
              size_t limit = std::numeric_limits<size_t>::max()) const;
  // Sets `ids` to the last `count` of those, or to all if there are fewer, and reads no more of the
  // text than that needs. False if its end has no place to cut within kMaxStretchBytes.
  bool EncodeLast(std::string_view text, size_t count, std::vector<int32_t>* ids) const;
  static constexpr size_t kMaxStretchBytes = 1 << 16;

  // No id stands for more bytes of text.
  size_t longest_piece_bytes() const { return longest_piece_bytes_; }

  int size() const { return static_cast<int>(pieces_.size()); }
  // 0 <= id < size().
  const std::string& Piece(int id) const { return pieces_[id].text; }
  Kind KindOf(int id) const { return pieces_[id].kind; }

 private:
  struct PieceInfo {
    std::string text;
    float score = 0;
    Kind kind = Kind::kText;
  };

  SentencePieceModel() = default;
  // Returns what is wrong, or nothing.
  std::string AddPiece(std::string_view message);
  std::string CheckTrainer(std::string_view message);
  std::string ReadNormalizer(std::string_view message);
  std::string Finish();
  void AppendIds(std::string_view piece, std::vector<int32_t>* ids) const;
  std::string Escaped(std::string_view text, bool prefix) const;
  // True between two characters of which no piece holds one directly after the other.
  bool IsCut(std::string_view escaped, size_t at) const;
  void EncodeStretch(std::string_view escaped, std::vector<int32_t>* ids) const;

  std::vector<PieceInfo> pieces_;
  std::unordered_map<std::string_view, int32_t> text_ids_;  // views into pieces_
  int32_t byte_ids_[256];
  // By the last byte of a character and the first of the next: some piece holds them so.
  std::bitset<256 * 256> joined_;
  size_t longest_piece_bytes_ = 1;
  bool add_dummy_prefix_ = true;
};

}  // namespace skipstone
