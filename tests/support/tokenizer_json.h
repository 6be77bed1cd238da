// A tokenizer.json of the form that Hugging Face writes for a SentencePiece model, as a value to
// change before it is written.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "engine/model/sentence_piece.h"

namespace skipstone {

// The merges of every piece by its rank among the scores, as "a b".
inline nlohmann::json MergesOf(const SentencePieceModel& model) {
  std::unordered_map<std::string, int> ids;
  for (int id = 0; id < model.size(); ++id) {
    if (model.KindOf(id) == SentencePieceModel::Kind::kText) ids.emplace(model.Piece(id), id);
  }
  std::vector<std::tuple<float, size_t, std::string, std::string>> merges;
  for (const auto& [text, id] : ids) {
    for (size_t cut = 1; cut < text.size(); ++cut) {
      const std::string left = text.substr(0, cut);
      const std::string right = text.substr(cut);
      if (!ids.contains(left) || !ids.contains(right)) continue;
      merges.emplace_back(-model.spec().pieces[id].score, cut, left, right);
    }
  }
  std::sort(merges.begin(), merges.end());
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [score, cut, left, right] : merges) list.push_back(left + " " + right);
  return list;
}

// Llama 2's: the blank is put in front by a normaliser.
inline nlohmann::json TokenizerJsonOf(const SentencePieceModel& model) {
  using nlohmann::json;
  json vocab = json::object();
  json added = json::array();
  for (int id = 0; id < model.size(); ++id) {
    vocab[model.Piece(id)] = id;
    if (model.KindOf(id) == SentencePieceModel::Kind::kControl ||
        model.KindOf(id) == SentencePieceModel::Kind::kUnknown) {
      added.push_back(
          {{"id", id}, {"content", model.Piece(id)}, {"special", true}, {"normalized", false}});
    }
  }
  const json blank = {{"String", "\u2581"}};
  return {
      {"version", "1.0"},
      {"added_tokens", added},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers",
         {{{"type", "Prepend"}, {"prepend", "\u2581"}},
          {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}}}}},
      {"pre_tokenizer", nullptr},
      {"post_processor", nullptr},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders",
         {{{"type", "Replace"}, {"pattern", blank}, {"content", " "}},
          {{"type", "ByteFallback"}},
          {{"type", "Fuse"}},
          {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", "<unk>"},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"vocab", vocab},
        {"merges", MergesOf(model)}}},
  };
}

// The form of later versions: a pre-tokenizer puts the blank in front.
inline void UseMetaspace(const std::string& scheme, nlohmann::json* file) {
  (*file)["normalizer"] = nullptr;
  (*file)["pre_tokenizer"] = {{"type", "Metaspace"},
                              {"replacement", "\u2581"},
                              {"prepend_scheme", scheme},
                              {"split", false}};
}

}  // namespace skipstone
