#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/base/utf8.h"
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
      "chat message %d after the system's has the role '%s', '%s' is needed: an optional system "
      "message, then user and assistant in turn",
      index, turn.role, wanted));
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeChat(std::span<const ChatTurn> turns,
                                                           std::optional<int32_t> eos_id) const {
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
  std::vector<int32_t> ids;
  // A question and its answer are one text to the tokenizer, as in the model's training.
  for (size_t i = 0; i < turns.size(); i += 2) {
    SKIPSTONE_RETURN_IF_ERROR(CheckRole(turns[i], i));
    std::string text = "[INST] " + Stripped(system + turns[i].content) + " [/INST]";
    system.clear();
    const bool answered = i + 1 < turns.size();
    if (answered) {
      SKIPSTONE_RETURN_IF_ERROR(CheckRole(turns[i + 1], i + 1));
      text += " " + Stripped(turns[i + 1].content) + " ";
    }
    SKIPSTONE_ASSIGN_OR_RETURN(std::vector<int32_t> encoded, EncodeMessage(text));
    if (chat_bos_id().has_value()) ids.push_back(*chat_bos_id());
    ids.insert(ids.end(), encoded.begin(), encoded.end());
    if (answered) ids.push_back(*eos_id);
  }
  return ids;
}

}  // namespace skipstone
