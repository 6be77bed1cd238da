#include "engine/model/json_fields.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "nlohmann/json.hpp"

namespace skipstone {

using nlohmann::json;

// An object within a parsed text, which it keeps alive. Never a copy: copying JSON recurses, and a
// file may nest as deeply as it is long.
struct JsonFields::Value {
  explicit Value(std::shared_ptr<const json> in) : object(std::move(in)) {}

  const std::shared_ptr<const json> object;

  const json* Find(const std::string& key) const {
    const auto it = object->find(key);
    return it == object->end() || it->is_null() ? nullptr : &*it;
  }
};

namespace {

bool IsIntIn(const json& value, int64_t min, int64_t max) {
  if (!value.is_number_integer()) return false;
  // Above INT64_MAX only the unsigned form is exact.
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return false;
  }
  return value.get<int64_t>() >= min && value.get<int64_t>() <= max;
}

}  // namespace

JsonFields::JsonFields(std::shared_ptr<const Value> value, std::string name)
    : value_(std::move(value)), name_(std::move(name)) {}

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
  return JsonFields(std::make_shared<Value>(object), name);
}

bool JsonFields::Has(const std::string& key) const { return value_->Find(key) != nullptr; }

bool JsonFields::Contains(const std::string& key) const { return value_->object->contains(key); }

std::string JsonFields::Describe(const std::string& key) const {
  const json* value = value_->Find(key);
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
  const json* value = value_->Find(key);
  if (value == nullptr && absent.has_value()) return *absent;
  if (value == nullptr || !IsIntIn(*value, min, max)) {
    return Error(key, absl::StrFormat("an integer from %d to %d is needed", min, max));
  }
  return value->get<int64_t>();
}

absl::StatusOr<double> JsonFields::Number(const std::string& key, double min, double max,
                                          double absent) const {
  const json* value = value_->Find(key);
  if (value == nullptr) return absent;
  // Written so that NaN is refused.
  if (!value->is_number() || !(value->get<double>() >= min && value->get<double>() <= max)) {
    return Error(key, absl::StrFormat("a number from %g to %g is needed", min, max));
  }
  return value->get<double>();
}

absl::StatusOr<bool> JsonFields::Bool(const std::string& key, bool absent) const {
  const json* value = value_->Find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) return Error(key, "true or false is needed");
  return value->get<bool>();
}

absl::StatusOr<std::string> JsonFields::String(const std::string& key,
                                               const std::string& absent) const {
  const json* value = value_->Find(key);
  if (value == nullptr) return absent;
  if (!value->is_string()) return Error(key, "a string is needed");
  return value->get<std::string>();
}

absl::StatusOr<std::vector<int64_t>> JsonFields::Ints(const std::string& key, int64_t min,
                                                      int64_t max) const {
  const json* value = value_->Find(key);
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
  const json* value = value_->Find(key);
  if (value != nullptr && !value->is_object()) return Error(key, "an object is needed");
  std::shared_ptr<const json> inner = value == nullptr
                                          ? std::make_shared<const json>(json::object())
                                          : std::shared_ptr<const json>(value_->object, value);
  return JsonFields(std::make_shared<Value>(std::move(inner)),
                    absl::StrFormat("%s: %s", name_, key));
}

std::vector<std::string> JsonFields::Keys() const {
  std::vector<std::string> keys;
  for (const auto& item : value_->object->items()) keys.push_back(item.key());
  return keys;
}

}  // namespace skipstone
