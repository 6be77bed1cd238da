#include "tools/calibrate/texts.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/hash.h"
#include "base/status.h"

namespace skipstone::calibrate {
namespace {

absl::Status In(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrFormat("%s: %s", path, std::string(status.message())));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrFormat("%s cannot be read", path));
  return std::string(std::istreambuf_iterator<char>(in), {});
}

absl::Status CheckIds(const std::vector<int32_t>& ids, int vocab) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%d is no id of a vocabulary of %d", id, vocab));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string& text, int vocab) {
  std::vector<int32_t> ids;
  for (const auto word : absl::StrSplit(text, absl::ByAnyChar(" ,\n\r\t"), absl::SkipEmpty())) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(word, &id)) {
      return absl::InvalidArgumentError(absl::StrFormat("'%.20s' is no token id", word));
    }
    ids.push_back(id);
  }
  SKIPSTONE_RETURN_IF_ERROR(CheckIds(ids, vocab));
  return ids;
}

absl::StatusOr<std::vector<int32_t>> IdsOf(const nlohmann::json& json, bool continues,
                                           const Tokenizer& tokenizer, int vocab) {
  if (json.is_string()) {
    const auto text = json.get<std::string>();
    return tokenizer.Encode(continues ? absl::StrFormat(" %s", absl::StripAsciiWhitespace(text))
                                      : text);
  }
  std::vector<int32_t> ids;
  for (const auto& id : json) {
    if (!id.is_number_integer()) return absl::InvalidArgumentError("holds what is no token id");
    ids.push_back(id.get<int32_t>());
  }
  SKIPSTONE_RETURN_IF_ERROR(CheckIds(ids, vocab));
  return ids;
}

absl::StatusOr<quality::Continuation> ItemOf(const std::string& line, const Tokenizer& tokenizer,
                                             const ItemLimits& limits, std::optional<int32_t> bos) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  const auto has = [&](const char* key) {
    return json.is_object() && json.contains(key) &&
           (json[key].is_string() || json[key].is_array());
  };
  if (!has("context") || !has("continuation")) {
    return absl::InvalidArgumentError(
        "is not {\"context\": ..., \"continuation\": ...} with texts or lists of token ids");
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<int32_t> before,
                             IdsOf(json["context"], false, tokenizer, limits.vocab));
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<int32_t> answer,
                             IdsOf(json["continuation"], true, tokenizer, limits.vocab));
  const int room = limits.tokens - static_cast<int>(answer.size()) - (bos ? 1 : 0);
  if (answer.empty() || before.empty() || room < 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "context of %d and continuation of %d tokens: at least one of each is needed, and room in "
        "%d",
        before.size(), answer.size(), limits.tokens));
  }
  quality::Continuation item;
  if (bos) item.tokens.push_back(*bos);
  const auto kept = std::min<std::ptrdiff_t>(std::ssize(before), room);
  item.tokens.insert(item.tokens.end(), before.end() - kept, before.end());
  item.tokens.insert(item.tokens.end(), answer.begin(), answer.end());
  item.answer = static_cast<int>(answer.size());
  return item;
}

}  // namespace

absl::StatusOr<std::vector<Text>> ReadTexts(const std::vector<std::string>& paths,
                                            const Tokenizer& tokenizer, int vocab, int least) {
  std::vector<Text> texts;
  for (const std::string& path : paths) {
    SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    auto ids = absl::EndsWith(path, ".ids") ? ParseIds(text, vocab) : tokenizer.Encode(text);
    if (!ids.ok()) return In(path, ids.status());
    if (std::ssize(*ids) < least) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s has %d tokens; at least %d are needed", path, ids->size(), least));
    }
    texts.push_back({path, *std::move(ids)});
  }
  return texts;
}

uint64_t HashOf(const std::vector<Text>& texts) {
  uint64_t hash = Fnv1a64("");
  for (const Text& text : texts) {
    hash = Fnv1a64(
        {reinterpret_cast<const char*>(text.ids.data()), text.ids.size() * sizeof(text.ids[0])},
        Mix64(hash ^ text.ids.size()));
  }
  return hash;
}

std::vector<Text> SplitTail(std::vector<Text>& texts, double share) {
  std::vector<Text> tails;
  for (Text& text : texts) {
    const auto tail = static_cast<std::ptrdiff_t>(static_cast<double>(text.ids.size()) * share);
    tails.push_back({text.path, {text.ids.end() - tail, text.ids.end()}});
    text.ids.resize(text.ids.size() - tail);
  }
  return tails;
}

absl::StatusOr<quality::Windows> WindowsOf(const std::vector<Text>& texts, int count, int tokens,
                                           std::optional<int32_t> bos, uint64_t seed) {
  quality::Windows windows;
  const int of_text = tokens - (bos ? 1 : 0);
  const auto num_texts = static_cast<int>(texts.size());
  for (int i = 0; i < count; ++i) {
    const Text& text = texts[i % num_texts];
    const int64_t room = std::ssize(text.ids) - of_text;
    if (room < 0) {
      return absl::InvalidArgumentError(absl::StrFormat("%s has %d tokens for windows of %d",
                                                        text.path, text.ids.size(), tokens));
    }
    const int windows_of_text = (count - i % num_texts + num_texts - 1) / num_texts;
    const int64_t stride = std::max<int64_t>(1, room / windows_of_text);
    const int64_t shift = static_cast<int64_t>(Mix64(seed) % static_cast<uint64_t>(stride));
    const int64_t begin = std::min(room, i / num_texts * stride + (seed == 0 ? 0 : shift));
    std::vector<int32_t>& window = windows.emplace_back();
    if (bos) window.push_back(*bos);
    window.insert(window.end(), text.ids.begin() + begin, text.ids.begin() + begin + of_text);
  }
  return windows;
}

absl::StatusOr<std::vector<quality::Continuation>> ReadLastWords(const std::string& path,
                                                                 const Tokenizer& tokenizer,
                                                                 const ItemLimits& limits,
                                                                 std::optional<int32_t> bos) {
  std::ifstream in(path);
  if (!in) return absl::NotFoundError(absl::StrFormat("%s cannot be read", path));
  std::vector<quality::Continuation> items;
  std::string line;
  for (int number = 1; std::ssize(items) < limits.most && std::getline(in, line); ++number) {
    auto item = ItemOf(line, tokenizer, limits, bos);
    if (!item.ok()) return In(absl::StrFormat("%s:%d", path, number), item.status());
    items.push_back(*std::move(item));
  }
  if (!items.empty()) return items;
  return absl::InvalidArgumentError(absl::StrFormat("%s holds no item", path));
}

}  // namespace skipstone::calibrate
