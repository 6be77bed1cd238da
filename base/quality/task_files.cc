#include "base/quality/task_files.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/read_file.h"
#include "base/status.h"
#include "base/utf8.h"

namespace skipstone::quality {
namespace {

using nlohmann::json;

bool HoldsIds(const std::string& path) { return absl::EndsWith(path, ".ids"); }

absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string& text) {
  std::vector<int32_t> ids;
  for (const auto word : absl::StrSplit(text, absl::ByAnyChar(" ,\n\r\t"), absl::SkipEmpty())) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(word, &id) || id < 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("'%s' is no token id", std::string(word.substr(0, 20))));
    }
    ids.push_back(id);
  }
  return ids;
}

absl::Status Wrong(const std::string& name) {
  return absl::InvalidArgumentError(
      absl::StrFormat("\"%s\" is not there or neither a text nor a list of token ids", name));
}

absl::StatusOr<TextOrIds> TextOrIdsOf(const json& value, const std::string& name) {
  if (value.is_string()) return TextOrIds(value.get<std::string>());
  if (!value.is_array()) return Wrong(name);
  std::vector<int32_t> ids;
  for (const json& id : value) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<int32_t>::max()) {
      return Wrong(name);
    }
    ids.push_back(id.get<int32_t>());
  }
  return TextOrIds(std::move(ids));
}

absl::StatusOr<TextOrIds> Field(const json& object, const std::string& name) {
  return object.contains(name) ? TextOrIdsOf(object[name], name) : Wrong(name);
}

bool IsText(const TextOrIds& value) { return std::holds_alternative<std::string>(value); }

bool IsEmpty(const TextOrIds& value) {
  return std::visit([](const auto& holder) { return holder.empty(); }, value);
}

// One item is of texts or of ids, since the ids of a text depend on what stands before it.
absl::Status CheckAlike(const TextOrIds& a, const TextOrIds& b) {
  if (IsText(a) == IsText(b)) return absl::OkStatus();
  return absl::InvalidArgumentError("has texts beside token ids");
}

TextOrIds BehindBlank(TextOrIds value) {
  if (auto* text = std::get_if<std::string>(&value); text != nullptr && !text->starts_with(' ')) {
    text->insert(0, " ");
  }
  return value;
}

absl::StatusOr<json> ParseObject(const std::string& line) {
  json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("is not a JSON object");
  return object;
}

absl::Status ParseGold(const json& object, ChoiceItem& item) {
  const int64_t last = static_cast<int64_t>(item.choices.size()) - 1;
  if (!object.contains("gold") || !object["gold"].is_number_integer() || object["gold"] < 0 ||
      object["gold"] > last) {
    return absl::InvalidArgumentError(
        absl::StrFormat("\"gold\" is not there or no whole number from 0 to %d", last));
  }
  item.gold = object["gold"].get<int>();
  return absl::OkStatus();
}

// Of ids nobody knows them but the file.
absl::Status ParseCharacters(const json& object, ChoiceItem& item) {
  const auto wrong = [&] {
    return absl::InvalidArgumentError(absl::StrFormat(
        "\"characters\" is not there or not %d whole numbers from 1", item.choices.size()));
  };
  if (!object.contains("characters") || !object["characters"].is_array() ||
      object["characters"].size() != item.choices.size()) {
    return wrong();
  }
  for (const json& count : object["characters"]) {
    if (!count.is_number_integer() || count < 1 || count > std::numeric_limits<int>::max()) {
      return wrong();
    }
    item.characters.push_back(count.get<int>());
  }
  return absl::OkStatus();
}

absl::StatusOr<ChoiceItem> ParseChoice(const std::string& line) {
  SKIPSTONE_ASSIGN_OR_RETURN(const json object, ParseObject(line));
  ChoiceItem item;
  SKIPSTONE_ASSIGN_OR_RETURN(item.context, Field(object, "query"));
  if (!object.contains("choices") || !object["choices"].is_array() || object["choices"].empty()) {
    return absl::InvalidArgumentError("\"choices\" is not there or no list");
  }
  for (const json& value : object["choices"]) {
    const std::string name = absl::StrFormat("choices[%d]", item.choices.size());
    SKIPSTONE_ASSIGN_OR_RETURN(TextOrIds choice, TextOrIdsOf(value, name));
    SKIPSTONE_RETURN_IF_ERROR(CheckAlike(item.context, choice));
    if (IsEmpty(choice)) {
      return absl::InvalidArgumentError(name + " is empty");
    }
    if (IsText(choice)) item.characters.push_back(CountCharacters(std::get<std::string>(choice)));
    item.choices.push_back(IsText(choice) ? TextOrIds(" " + std::get<std::string>(choice))
                                          : std::move(choice));
  }
  SKIPSTONE_RETURN_IF_ERROR(ParseGold(object, item));
  if (IsText(item.context)) {
    std::get<std::string>(item.context) += "\nAnswer:";
  } else {
    SKIPSTONE_RETURN_IF_ERROR(ParseCharacters(object, item));
  }
  return item;
}

absl::StatusOr<LastWordItem> ParseLastWord(const std::string& line) {
  SKIPSTONE_ASSIGN_OR_RETURN(const json object, ParseObject(line));
  LastWordItem item;
  SKIPSTONE_ASSIGN_OR_RETURN(item.context, Field(object, "context"));
  SKIPSTONE_ASSIGN_OR_RETURN(item.continuation, Field(object, "continuation"));
  SKIPSTONE_RETURN_IF_ERROR(CheckAlike(item.context, item.continuation));
  if (IsEmpty(item.continuation)) {
    return absl::InvalidArgumentError("\"continuation\" is empty");
  }
  item.continuation = BehindBlank(std::move(item.continuation));
  return item;
}

// `parse` makes an item of each of the first `most` lines that are not blank.
template <class Item>
absl::StatusOr<std::vector<Item>> ReadLines(
    const std::string& flag, const std::string& path, size_t most,
    const std::function<absl::StatusOr<Item>(const std::string&)>& parse) {
  SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(flag, path));
  std::vector<Item> items;
  size_t begin = 0;
  for (int line = 1; begin < text.size() && items.size() < most; ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string content = text.substr(begin, end - begin);
    begin = end + 1;
    if (!content.empty() && content.back() == '\r') content.pop_back();
    if (std::all_of(content.begin(), content.end(), absl::ascii_isspace)) continue;
    absl::StatusOr<Item> item = parse(content);
    if (!item.ok()) {
      return absl::InvalidArgumentError(LineName(flag, line) + ": " +
                                        std::string(item.status().message()));
    }
    item->line = line;
    items.push_back(*std::move(item));
  }
  if (!items.empty()) return items;
  return absl::InvalidArgumentError(absl::StrFormat("%s: \"%s\" has no items", flag, path));
}

}  // namespace

absl::StatusOr<TextOrIds> ReadTask(const std::string& flag, const std::string& path) {
  SKIPSTONE_ASSIGN_OR_RETURN(std::string text, ReadFile(flag, path));
  TextOrIds task = std::move(text);
  if (HoldsIds(path)) {
    auto ids = ParseIds(std::get<std::string>(task));
    if (!ids.ok()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: \"%s\": %s", flag, path, std::string(ids.status().message())));
    }
    task = *std::move(ids);
  }
  if (!IsEmpty(task)) return task;
  return absl::InvalidArgumentError(absl::StrFormat("%s: \"%s\" is empty", flag, path));
}

absl::StatusOr<std::vector<ChoiceItem>> ReadChoices(const std::string& flag,
                                                    const std::string& path, size_t most) {
  return ReadLines<ChoiceItem>(flag, path, most, ParseChoice);
}

absl::StatusOr<std::vector<LastWordItem>> ReadLastWords(const std::string& flag,
                                                        const std::string& path, size_t most) {
  return ReadLines<LastWordItem>(flag, path, most, ParseLastWord);
}

absl::StatusOr<std::vector<PromptItem>> ReadPrompts(const std::string& flag,
                                                    const std::string& path, size_t most) {
  return ReadLines<PromptItem>(
      flag, path, most, [&](const std::string& line) -> absl::StatusOr<PromptItem> {
        if (!HoldsIds(path)) return PromptItem{0, line};
        SKIPSTONE_ASSIGN_OR_RETURN(std::vector<int32_t> ids, ParseIds(line));
        if (ids.empty()) return absl::InvalidArgumentError("holds no token id");
        return PromptItem{0, std::move(ids)};
      });
}

std::string LineName(std::string_view flag, int line) {
  return absl::StrFormat("%s line %d", std::string(flag), line);
}

}  // namespace skipstone::quality
