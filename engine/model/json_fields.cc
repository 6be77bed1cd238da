#include "engine/model/json_fields.h"

#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace skipstone {

using nlohmann::json;

namespace {

bool IsIntIn(const json& value, int64_t min, int64_t max) {
  if (!value.is_number_integer()) return false;
  // Above INT64_MAX only the unsigned form is exact.
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return false;
  }
  return value.get<int64_t>() >= min && value.get<int64_t>() <= max;
}

std::optional<std::string> TokenOf(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object()) return std::nullopt;
  const auto content = value.find("content");
  if (content == value.end() || !content->is_string()) return std::nullopt;
  return content->get<std::string>();
}

std::optional<std::pair<std::string, std::string>> PairOf(const json& value) {
  if (value.is_array() && value.size() == 2 && value[0].is_string() && value[1].is_string()) {
    return std::pair(value[0].get<std::string>(), value[1].get<std::string>());
  }
  if (!value.is_string()) return std::nullopt;
  const auto text = value.get<std::string>();
  const size_t blank = text.find(' ');
  if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos) {
    return std::nullopt;
  }
  return std::pair(text.substr(0, blank), text.substr(blank + 1));
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  constexpr uintmax_t kMaxBytes = 64u << 20;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(absl::StrFormat("there is no file %s", path));
  }
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::InvalidArgumentError(absl::StrFormat("%s is not a regular file", path));
  }
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s cannot be read or is larger than %d bytes", path, kMaxBytes));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) {
    return absl::InvalidArgumentError(absl::StrFormat("%s cannot be read", path));
  }
  return text;
}

absl::StatusOr<std::optional<std::string>> ReadIfPresent(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  if (!text.ok()) return text.status();
  return *std::move(text);
}

const json* JsonFields::Find(const std::string& key) const {
  const auto it = object_->find(key);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

absl::StatusOr<JsonFields> JsonFields::Parse(const std::string& text, const std::string& name) {
  const auto object = std::make_shared<json>();
  try {
    *object = json::parse(text);
  } catch (const json::exception& e) {
    return absl::InvalidArgumentError(absl::StrFormat("%s is not JSON: %s", name, e.what()));
  }
  if (!object->is_object()) {
    return absl::InvalidArgumentError(absl::StrFormat("%s is not a JSON object", name));
  }
  return JsonFields(object, name);
}

bool JsonFields::Has(const std::string& key) const { return Find(key) != nullptr; }

bool JsonFields::Contains(const std::string& key) const { return object_->contains(key); }

bool JsonFields::IsArray(const std::string& key) const { return Has(key) && Find(key)->is_array(); }

std::string JsonFields::Describe(const std::string& key) const {
  const json* value = Find(key);
  if (value == nullptr) return Contains(key) ? "null" : "absent";
  // Nested values may be arbitrarily deep and long; dump() would recurse.
  if (value->is_structured()) return std::string("an ") + value->type_name();
  std::string text = value->dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() <= 80 ? text : text.substr(0, 80) + "...";
}

absl::Status JsonFields::Error(const std::string& key, const std::string& why) const {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: %s is %s: %s", name_, key, Describe(key), why));
}

absl::StatusOr<int64_t> JsonFields::Int(const std::string& key, int64_t min, int64_t max,
                                        std::optional<int64_t> absent) const {
  const json* value = Find(key);
  if (value == nullptr && absent.has_value()) return *absent;
  if (value == nullptr || !IsIntIn(*value, min, max)) {
    return Error(key, absl::StrFormat("an integer from %d to %d is needed", min, max));
  }
  return value->get<int64_t>();
}

absl::StatusOr<double> JsonFields::Number(const std::string& key, double min, double max,
                                          double absent) const {
  const json* value = Find(key);
  if (value == nullptr) return absent;
  // Written so that NaN is refused.
  if (!value->is_number() || !(value->get<double>() >= min && value->get<double>() <= max)) {
    return Error(key, absl::StrFormat("a number from %g to %g is needed", min, max));
  }
  return value->get<double>();
}

absl::StatusOr<bool> JsonFields::Bool(const std::string& key, bool absent) const {
  const json* value = Find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) return Error(key, "true or false is needed");
  return value->get<bool>();
}

absl::StatusOr<std::string> JsonFields::String(const std::string& key,
                                               const std::string& absent) const {
  const json* value = Find(key);
  if (value == nullptr) return absent;
  if (!value->is_string()) return Error(key, "a string is needed");
  return value->get<std::string>();
}

absl::StatusOr<std::vector<int64_t>> JsonFields::Ints(const std::string& key, int64_t min,
                                                      int64_t max) const {
  const json* value = Find(key);
  std::vector<int64_t> numbers;
  if (value == nullptr) return numbers;
  const auto error = [&] {
    return Error(
        key, absl::StrFormat("an integer from %d to %d, or a list of such, is needed", min, max));
  };
  if (!value->is_array()) {
    if (!IsIntIn(*value, min, max)) return error();
    return std::vector<int64_t>{value->get<int64_t>()};
  }
  for (const json& item : *value) {
    if (!IsIntIn(item, min, max)) return error();
    numbers.push_back(item.get<int64_t>());
  }
  return numbers;
}

absl::StatusOr<JsonFields> JsonFields::Object(const std::string& key) const {
  const json* value = Find(key);
  if (value != nullptr && !value->is_object()) return Error(key, "an object is needed");
  std::shared_ptr<const json> inner = value == nullptr
                                          ? std::make_shared<const json>(json::object())
                                          : std::shared_ptr<const json>(object_, value);
  return JsonFields(std::move(inner), absl::StrFormat("%s: %s", name_, key));
}

absl::StatusOr<std::vector<JsonFields>> JsonFields::Objects(const std::string& key) const {
  const json* value = Find(key);
  std::vector<JsonFields> objects;
  if (value == nullptr) return objects;
  if (!value->is_array()) return Error(key, "a list of objects is needed");
  for (const json& item : *value) {
    if (!item.is_object()) return Error(key, "a list of objects is needed");
    objects.push_back(JsonFields(std::shared_ptr<const json>(object_, &item),
                                 absl::StrFormat("%s: %s[%d]", name_, key, objects.size())));
  }
  return objects;
}

absl::StatusOr<std::optional<std::string>> JsonFields::Token(const std::string& key) const {
  const json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  const std::optional<std::string> token = TokenOf(*value);
  if (!token.has_value()) return Error(key, "a string, or an object with its content, is needed");
  return token;
}

absl::StatusOr<std::vector<std::string>> JsonFields::Tokens(const std::string& key) const {
  const json* value = Find(key);
  std::vector<std::string> tokens;
  if (value == nullptr) return tokens;
  if (!value->is_structured()) return Error(key, "a list of tokens is needed");
  for (const json& item : *value) {
    const std::optional<std::string> token = TokenOf(item);
    if (!token.has_value()) return Error(key, "a list of strings or token objects is needed");
    tokens.push_back(*token);
  }
  return tokens;
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> JsonFields::Pairs(
    const std::string& key) const {
  const json* value = Find(key);
  std::vector<std::pair<std::string, std::string>> pairs;
  if (value == nullptr) return pairs;
  if (!value->is_array()) return Error(key, "a list of pairs is needed");
  for (const json& item : *value) {
    const auto pair = PairOf(item);
    if (!pair.has_value()) return Error(key, "every item must be \"a b\" or [\"a\", \"b\"]");
    pairs.push_back(*pair);
  }
  return pairs;
}

std::vector<std::string> JsonFields::Keys() const {
  std::vector<std::string> keys;
  for (const auto& item : object_->items()) keys.push_back(item.key());
  return keys;
}

}  // namespace skipstone
