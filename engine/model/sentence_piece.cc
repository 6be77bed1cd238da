#include "engine/model/sentence_piece.h"

#include <sentencepiece_processor.h>

#include <exception>

namespace skipstone {
namespace {

class Model : public SentencePieceModel {
 public:
  bool Load(std::string_view bytes, std::string* error) {
    const auto status = processor_.LoadFromSerializedProto(bytes);
    if (!status.ok()) *error = status.ToString();
    return status.ok();
  }

  bool Encode(std::string_view text, std::vector<int>* ids, std::string* error) const override {
    const auto status = processor_.Encode(text, ids);
    if (!status.ok()) *error = status.ToString();
    return status.ok();
  }

  int size() const override { return processor_.GetPieceSize(); }
  const std::string& Piece(int id) const override { return processor_.IdToPiece(id); }

  Kind KindOf(int id) const override {
    if (processor_.IsByte(id)) return Kind::kByte;
    if (processor_.IsControl(id)) return Kind::kControl;
    return processor_.IsUnknown(id) ? Kind::kUnknown : Kind::kText;
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace

std::unique_ptr<SentencePieceModel> SentencePieceModel::Parse(std::string_view bytes,
                                                              std::string* error) {
  auto model = std::make_unique<Model>();
  try {
    if (!model->Load(bytes, error)) return nullptr;
  } catch (const std::exception& e) {
    *error = e.what();
    return nullptr;
  }
  return model;
}

}  // namespace skipstone
