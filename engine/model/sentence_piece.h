// A SentencePiece model of the kind that Llama 2 uses: BPE with byte fallback over unnormalised
// text, read from a tokenizer.model. Other kinds are refused. Immutable, so thread-safe.
//
// Our own, because Debian's libsentencepiece exports a private copy of protobuf whose symbols
// collide with the libprotobuf of gRPC: a program that links both dies before main. The tests
// compare this with that library.
#pragma once

#include <cstdint>
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
  // merge is a piece; a character that is no piece becomes its bytes. O(n log n).
  void Encode(std::string_view text, std::vector<int32_t>* ids) const;

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

  std::vector<PieceInfo> pieces_;
  std::unordered_map<std::string_view, int32_t> text_ids_;  // views into pieces_
  int32_t byte_ids_[256];
  bool add_dummy_prefix_ = true;
};

}  // namespace skipstone
