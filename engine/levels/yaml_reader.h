// Walks a YAML file that people write. What is unknown, missing, there twice or of another kind is
// INVALID_ARGUMENT with file and line; the YAML library's exceptions end here.
//
//   return ReadYaml(text, "levels.yaml", [&](const YamlReader& reader, const YAML::Node& root) {
//     return reader.ForEachKey(root, "", [&](const std::string& key, const YAML::Node& node) ...
#pragma once

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/flag_set.h"

namespace skipstone {

// Immutable. Its functions may throw what the YAML library throws, which ReadYaml catches.
class YamlReader {
 public:
  // `name` stands for the file in messages.
  explicit YamlReader(std::string name) : name_(std::move(name)) {}

  absl::Status Error(const YAML::Node& node, const std::string& message) const {
    return At(std::max(node.Mark().line, 0), message);  // -1: of an empty file
  }
  absl::Status Unknown(const YAML::Node& node, const std::string& key) const;
  // `line` from 0.
  absl::Status At(int line, const std::string& message) const;

  // The entries of a mapping in order. `what` it is, for messages; empty: the file.
  using Visit = std::function<absl::Status(const std::string& key, const YAML::Node& node)>;
  absl::Status ForEachKey(const YAML::Node& map, const std::string& what, const Visit& visit) const;
  absl::Status RequireKeys(const YAML::Node& map, const std::string& what,
                           std::initializer_list<const char*> keys) const;
  absl::StatusOr<std::string> Scalar(const YAML::Node& node, const std::string& key) const;

  // Sets `key` of `keys`; `name` is what it is called in the file, below its parents.
  absl::Status ReadKey(const YAML::Node& node, const std::string& name, const FlagSet& keys,
                       const std::string& key) const;
  // All of a mapping, whose keys are called `parent` and their name.
  absl::Status ReadKeys(const YAML::Node& map, const std::string& what, const std::string& parent,
                        const FlagSet& keys) const;

 private:
  const std::string name_;
};

// Visits the root of the text's one document, which is null if the text is empty.
absl::Status ReadYaml(
    const std::string& text, const std::string& name,
    const std::function<absl::Status(const YamlReader&, const YAML::Node&)>& visit);

}  // namespace skipstone
