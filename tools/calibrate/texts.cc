#include "tools/calibrate/texts.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/status.h"

namespace skipstone::calibrate {
namespace {

absl::Status CheckIds(const std::vector<int32_t>& ids, int vocab) {
  const auto wrong = std::ranges::find_if(ids, [vocab](int32_t id) { return id >= vocab; });
  if (wrong == ids.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%d is no id of a vocabulary of %d", *wrong, vocab));
}

absl::StatusOr<std::vector<int32_t>> IdsOf(const quality::TextOrIds& text,
                                           const Tokenizer& tokenizer, int vocab) {
  if (const auto* utf8 = std::get_if<std::string>(&text)) return tokenizer.Encode(*utf8);
  const auto& ids = std::get<std::vector<int32_t>>(text);
  SKIPSTONE_RETURN_IF_ERROR(CheckIds(ids, vocab));
  return ids;
}

// Ids of both, and where the answer begins.
struct Joined {
  std::vector<int32_t> ids;
  size_t answer = 0;
};
absl::StatusOr<Joined> Join(const quality::TextOrIds& context, const quality::TextOrIds& answer,
                            const ItemRules& rules) {
  SKIPSTONE_ASSIGN_OR_RETURN(std::vector<int32_t> before,
                             IdsOf(context, rules.tokenizer, rules.vocab));
  if (const auto* text = std::get_if<std::string>(&context)) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::vector<int32_t> both,
                               rules.tokenizer.Encode(*text + std::get<std::string>(answer)));
    const size_t start = ContinuationStart(before, both);
    return Joined{std::move(both), start};
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<int32_t> after,
                             IdsOf(answer, rules.tokenizer, rules.vocab));
  Joined joined{std::move(before)};
  joined.answer = joined.ids.size();
  joined.ids.insert(joined.ids.end(), after.begin(), after.end());
  return joined;
}

absl::StatusOr<quality::Continuation> ItemOf(const quality::TextOrIds& context,
                                             const quality::TextOrIds& answer,
                                             const ItemRules& rules) {
  SKIPSTONE_ASSIGN_OR_RETURN(const Joined joined, Join(context, answer, rules));
  const auto answered = static_cast<int>(joined.ids.size() - joined.answer);
  const int room = rules.tokens - answered - (rules.bos ? 1 : 0);
  if (answered == 0 || joined.answer == 0 || room < 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "context of %d and continuation of %d tokens: at least one of each is needed, and room in "
        "%d",
        joined.answer, answered, rules.tokens));
  }
  quality::Continuation item{.answer = answered};
  if (rules.bos) item.tokens.push_back(*rules.bos);
  const auto first = static_cast<std::ptrdiff_t>(joined.answer) -
                     std::min(static_cast<std::ptrdiff_t>(joined.answer), std::ptrdiff_t{room});
  item.tokens.insert(item.tokens.end(), joined.ids.begin() + first, joined.ids.end());
  return item;
}

absl::Status At(const char* flag, int line, const absl::Status& status) {
  return absl::Status(status.code(),
                      quality::LineName(flag, line) + ": " + std::string(status.message()));
}

}  // namespace

absl::StatusOr<std::vector<Text>> ReadTexts(const std::string& flag,
                                            const std::vector<std::string>& paths,
                                            const Tokenizer& tokenizer, int vocab) {
  std::vector<Text> texts;
  for (const std::string& path : paths) {
    SKIPSTONE_ASSIGN_OR_RETURN(const quality::TextOrIds text, quality::ReadTask(flag, path));
    auto ids = IdsOf(text, tokenizer, vocab);
    if (!ids.ok()) {
      return absl::Status(
          ids.status().code(),
          absl::StrFormat("%s: \"%s\": %s", flag, path, std::string(ids.status().message())));
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

absl::StatusOr<std::vector<quality::Continuation>> LastWordItems(const std::string& path, int most,
                                                                 const ItemRules& rules) {
  SKIPSTONE_ASSIGN_OR_RETURN(const auto words, quality::ReadLastWords("--last_words", path, most));
  std::vector<quality::Continuation> items;
  for (const quality::LastWordItem& word : words) {
    auto item = ItemOf(word.context, word.continuation, rules);
    if (!item.ok()) return At("--last_words", word.line, item.status());
    items.push_back(*std::move(item));
  }
  return items;
}

absl::StatusOr<ChoiceTask> ChoiceItems(const std::string& path, int most, const ItemRules& rules) {
  ChoiceTask task;
  SKIPSTONE_ASSIGN_OR_RETURN(task.items, quality::ReadChoices("--choices", path, most));
  for (const quality::ChoiceItem& question : task.items) {
    for (const quality::TextOrIds& choice : question.choices) {
      auto item = ItemOf(question.context, choice, rules);
      if (!item.ok()) return At("--choices", question.line, item.status());
      task.answers.push_back(*std::move(item));
    }
  }
  return task;
}

}  // namespace skipstone::calibrate
