// Small files of a model directory, and typed access to those that are JSON. Errors name the file,
// the key, its value and what is wanted; the JSON library's exceptions end here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"

namespace skipstone {

// Reads it whole. NOT_FOUND if there is no such file; INVALID_ARGUMENT if it is no regular file,
// cannot be read, or is larger than 64 MiB (the index of a 70B checkpoint has 67 KB, a
// tokenizer.model 0.5 MB).
absl::StatusOr<std::string> ReadFile(const std::string& path);
// Nothing where the file is missing.
absl::StatusOr<std::optional<std::string>> ReadIfPresent(const std::string& path);

// A JSON object. A key whose value is null counts as absent: Hugging Face writes null for "unset".
// Only Contains tells the two apart. Cheap to copy, immutable, thread-safe.
class JsonFields {
 public:
  // INVALID_ARGUMENT unless `text` is a JSON object. `name` stands in every message.
  static absl::StatusOr<JsonFields> Parse(const std::string& text, const std::string& name);

  bool Has(const std::string& key) const;
  // The key stands there, be its value null.
  bool Contains(const std::string& key) const;
  bool IsArray(const std::string& key) const;
  // The value as JSON for messages; large values by their type only.
  std::string Describe(const std::string& key) const;
  // An INVALID_ARGUMENT that names file, key and value, and says `why`.
  absl::Status Error(const std::string& key, const std::string& why) const;

  // Each returns INVALID_ARGUMENT for a value of another type or outside [min, max], and the
  // default (or, without one, an error) where the key is absent.
  absl::StatusOr<int64_t> Int(const std::string& key, int64_t min, int64_t max,
                              std::optional<int64_t> absent = std::nullopt) const;
  absl::StatusOr<double> Number(const std::string& key, double min, double max,
                                double absent) const;
  absl::StatusOr<bool> Bool(const std::string& key, bool absent) const;
  absl::StatusOr<std::string> String(const std::string& key, const std::string& absent) const;
  // A number or a list of numbers; empty where absent.
  absl::StatusOr<std::vector<int64_t>> Ints(const std::string& key, int64_t min, int64_t max) const;
  // A nested object; an empty one where absent.
  absl::StatusOr<JsonFields> Object(const std::string& key) const;
  std::vector<std::string> Keys() const;
  // A list of objects; empty where absent.
  absl::StatusOr<std::vector<JsonFields>> Objects(const std::string& key) const;
  // How Hugging Face writes a token: a string, or an object whose `content` is one. Nothing, or an
  // empty list, where absent.
  absl::StatusOr<std::optional<std::string>> Token(const std::string& key) const;
  absl::StatusOr<std::vector<std::string>> Tokens(const std::string& key) const;
  // A list of "a b" or ["a", "b"].
  absl::StatusOr<std::vector<std::pair<std::string, std::string>>> Pairs(
      const std::string& key) const;

 private:
  JsonFields(std::shared_ptr<const nlohmann::json> object, std::string name)
      : object_(std::move(object)), name_(std::move(name)) {}
  // Null where absent.
  const nlohmann::json* Find(const std::string& key) const;

  // Within a parsed text, which it keeps alive. Never a copy: copying JSON recurses, and a file may
  // nest as deeply as it is long.
  std::shared_ptr<const nlohmann::json> object_;
  std::string name_;
};

}  // namespace skipstone
