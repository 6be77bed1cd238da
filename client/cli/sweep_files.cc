#include "client/cli/sweep_files.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "client/cli/read_file.h"

namespace skipstone::client {
namespace {

using nlohmann::json;

absl::Status Invalid(std::string_view flag, int line, const std::string& what) {
  return absl::InvalidArgumentError(LineName(flag, line) + ": " + what);
}

// Calls `read` with the first `items` lines that are not blank. The flag's file may not be empty.
absl::Status ForEachLine(const std::string& flag, const std::string& path, size_t items,
                         const std::function<absl::Status(int, const std::string&)>& read) {
  SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(flag, path));
  size_t found = 0;
  size_t begin = 0;
  for (int line = 1; begin < text.size() && found < items; ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string content = text.substr(begin, end - begin);
    begin = end + 1;
    if (!content.empty() && content.back() == '\r') content.pop_back();
    if (std::all_of(content.begin(), content.end(), absl::ascii_isspace)) continue;
    SKIPSTONE_RETURN_IF_ERROR(read(line, content));
    ++found;
  }
  if (found > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat("%s: \"%s\" has no items", flag, path));
}

absl::StatusOr<std::string> TextField(const json& object, const char* name) {
  if (!object.contains(name) || !object[name].is_string()) {
    return absl::InvalidArgumentError(absl::StrFormat("\"%s\" is not there or no text", name));
  }
  return object[name].get<std::string>();
}

absl::StatusOr<json> ParseObject(const std::string& line) {
  json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("is not a JSON object");
  return object;
}

absl::StatusOr<ChoiceItem> ParseChoice(const std::string& line) {
  SKIPSTONE_ASSIGN_OR_RETURN(const json object, ParseObject(line));
  ChoiceItem item;
  SKIPSTONE_ASSIGN_OR_RETURN(item.query, TextField(object, "query"));
  if (!object.contains("choices") || !object["choices"].is_array() || object["choices"].empty()) {
    return absl::InvalidArgumentError("\"choices\" is not there or no list of texts");
  }
  for (const json& choice : object["choices"]) {
    if (!choice.is_string() || choice.get<std::string>().empty()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("choices[%d] is empty or no text", item.choices.size()));
    }
    item.choices.push_back(choice.get<std::string>());
  }
  const int64_t last = static_cast<int64_t>(item.choices.size()) - 1;
  if (!object.contains("gold") || !object["gold"].is_number_integer() || object["gold"] < 0 ||
      object["gold"] > last) {
    return absl::InvalidArgumentError(
        absl::StrFormat("\"gold\" is not there or no whole number from 0 to %d", last));
  }
  item.gold = object["gold"].get<int>();
  return item;
}

absl::StatusOr<LastWordItem> ParseLastWord(const std::string& line) {
  SKIPSTONE_ASSIGN_OR_RETURN(const json object, ParseObject(line));
  LastWordItem item;
  SKIPSTONE_ASSIGN_OR_RETURN(item.context, TextField(object, "context"));
  SKIPSTONE_ASSIGN_OR_RETURN(item.continuation, TextField(object, "continuation"));
  if (item.continuation.empty()) return absl::InvalidArgumentError("\"continuation\" is empty");
  if (item.continuation.front() != ' ') item.continuation.insert(0, " ");
  return item;
}

// Parses each line; errors name flag and line.
template <class Item>
absl::Status ReadItems(const char* flag, const std::string& path, size_t items,
                       absl::StatusOr<Item> (*parse)(const std::string&), std::vector<Item>& read) {
  if (path.empty()) return absl::OkStatus();
  return ForEachLine(flag, path, items, [&](int line, const std::string& content) {
    absl::StatusOr<Item> item = parse(content);
    if (!item.ok()) return Invalid(flag, line, std::string(item.status().message()));
    item->line = line;
    read.push_back(*std::move(item));
    return absl::OkStatus();
  });
}

}  // namespace

std::string LineName(std::string_view flag, int line) {
  return absl::StrFormat("%s line %d", std::string(flag), line);
}

int CountCharacters(std::string_view utf8) {
  return static_cast<int>(std::count_if(utf8.begin(), utf8.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

absl::StatusOr<SweepFiles> ReadSweepFiles(const SweepPaths& paths, size_t items) {
  SweepFiles files{.paths = paths};
  if (!paths.text.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(files.text, ReadFile("--text", paths.text));
    if (files.text.empty()) {
      return absl::InvalidArgumentError(absl::StrFormat("--text: \"%s\" is empty", paths.text));
    }
  }
  SKIPSTONE_RETURN_IF_ERROR(
      ReadItems("--choices", paths.choices, items, ParseChoice, files.choices));
  SKIPSTONE_RETURN_IF_ERROR(
      ReadItems("--last_words", paths.last_words, items, ParseLastWord, files.last_words));
  SKIPSTONE_RETURN_IF_ERROR(ReadItems<PromptLine>(
      "--prompts", paths.prompts, items,
      [](const std::string& line) -> absl::StatusOr<PromptLine> {
        return PromptLine{0, line};
      },
      files.prompts));
  return files;
}

}  // namespace skipstone::client
