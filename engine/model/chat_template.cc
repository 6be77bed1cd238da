#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/utf8.h"
#include "engine/model/tokenizer.h"

namespace skipstone {
namespace {

std::string Stripped(std::string_view text) {
  text.remove_prefix(BlanksAtStart(text));
  text.remove_suffix(BlanksAtEnd(text));
  return std::string(text);
}

// `index` counts the messages after the system's.
absl::Status CheckRole(const ChatTurn& turn, size_t index) {
  const char* const wanted = index % 2 == 0 ? "user" : "assistant";
  if (turn.role == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "chat message %d after the system's has the role '%.40s', '%s' is needed: an optional system "
      "message, then user and assistant in turn",
      index, turn.role, wanted));
}

// The question that `turns` start with, and its answer if there is one.
std::string TextOf(std::span<const ChatTurn> turns, const std::string& system) {
  std::string text = "[INST] " + Stripped(system + turns[0].content) + " [/INST]";
  if (turns.size() > 1) text += " " + Stripped(turns[1].content) + " ";
  return text;
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeChat(std::span<const ChatTurn> turns,
                                                           std::optional<int32_t> eos_id,
                                                           const TokenLimit& limit) const {
  SKIPSTONE_RETURN_IF_ERROR(CheckChat());
  if (chat_eos_id().has_value()) eos_id = chat_eos_id();
  if (!eos_id.has_value()) {
    return absl::InvalidArgumentError("the model has no end-of-sequence token");
  }
  std::string system;
  if (!turns.empty() && turns.front().role == "system") {
    system = "<<SYS>>\n" + turns.front().content + "\n<</SYS>>\n\n";
    turns = turns.subspan(1);
  }
  if (turns.size() % 2 == 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "chat has %d messages after the system's; the last must be the user's", turns.size()));
  }
  for (size_t i = 0; i < turns.size(); ++i) SKIPSTONE_RETURN_IF_ERROR(CheckRole(turns[i], i));
  // A question and its answer are one text to the tokenizer, as in the model's training.
  const size_t texts = (turns.size() + 1) / 2;
  std::vector<std::vector<int32_t>> parts(texts);
  size_t tokens = 0;
  for (size_t step = 0; step < texts && (!limit.keep_last || tokens < limit.tokens); ++step) {
    // The last ones first, where only they are kept.
    const size_t text = limit.keep_last ? texts - 1 - step : step;
    std::vector<int32_t>& ids = parts[text];
    const bool answered = text * 2 + 1 < turns.size();
    const size_t special = (chat_bos_id().has_value() ? 1 : 0) + (answered ? 1 : 0);
    TokenLimit rest = limit;
    rest.taken = limit.keep_last ? tokens : limit.taken + tokens + special;
    SKIPSTONE_ASSIGN_OR_RETURN(
        ids, EncodeMessage(TextOf(turns.subspan(text * 2), text == 0 ? system : ""), rest));
    if (chat_bos_id().has_value()) ids.insert(ids.begin(), *chat_bos_id());
    if (answered) ids.push_back(*eos_id);
    tokens += ids.size();
  }
  std::vector<int32_t> ids;
  ids.reserve(tokens);
  for (const auto& part : parts) ids.insert(ids.end(), part.begin(), part.end());
  if (limit.keep_last && ids.size() > limit.tokens) {
    ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(limit.tokens));
  }
  return ids;
}

}  // namespace skipstone
