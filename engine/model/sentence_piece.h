// The SentencePiece library behind std types only: its header redefines absl::string_view, so no
// file may see both it and abseil. Thread-safe once loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skipstone {

class SentencePieceModel {
 public:
  enum class Kind { kText, kByte, kControl, kUnknown };

  // Parses the bytes of a tokenizer.model. Null, with the reason in `error`, if they are none.
  static std::unique_ptr<SentencePieceModel> Parse(std::string_view bytes, std::string* error);
  virtual ~SentencePieceModel() = default;

  // `text` is UTF-8. False, with the reason in `error`, if the library fails.
  virtual bool Encode(std::string_view text, std::vector<int>* ids, std::string* error) const = 0;
  virtual int size() const = 0;
  // 0 <= id < size().
  virtual const std::string& Piece(int id) const = 0;
  virtual Kind KindOf(int id) const = 0;
};

}  // namespace skipstone
