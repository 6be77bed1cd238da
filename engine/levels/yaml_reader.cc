#include "engine/levels/yaml_reader.h"

#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone {

absl::Status YamlReader::At(int line, const std::string& message) const {
  return absl::InvalidArgumentError(absl::StrFormat("%s:%d: %s", name_, line + 1, message));
}

absl::Status YamlReader::Unknown(const YAML::Node& node, const std::string& key) const {
  return Error(node, absl::StrFormat("unknown key '%s'", key));
}

absl::Status YamlReader::ForEachKey(const YAML::Node& map, const std::string& what,
                                    const Visit& visit) const {
  if (!map.IsMap()) {
    return Error(map, absl::StrFormat("%s: a mapping of keys to values is wanted",
                                      what.empty() ? "file" : what));
  }
  std::set<std::string> seen;
  for (const auto& entry : map) {
    if (!entry.first.IsScalar()) return Error(entry.first, "a key must be a plain word");
    const std::string key = entry.first.Scalar();
    if (!seen.insert(key).second) {
      return Error(entry.first, absl::StrFormat("key '%s' appears twice", key));
    }
    SKIPSTONE_RETURN_IF_ERROR(visit(key, entry.second));
  }
  return absl::OkStatus();
}

absl::Status YamlReader::RequireKeys(const YAML::Node& map, const std::string& what,
                                     std::initializer_list<const char*> keys) const {
  for (const char* key : keys) {
    if (map[key].IsDefined()) continue;
    return Error(map, absl::StrFormat("%s: key '%s' is missing", what, key));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> YamlReader::Scalar(const YAML::Node& node,
                                               const std::string& key) const {
  if (!node.IsScalar()) return Error(node, absl::StrFormat("%s: one value is wanted", key));
  return node.Scalar();
}

absl::Status YamlReader::ReadKey(const YAML::Node& node, const std::string& name,
                                 const FlagSet& keys, const std::string& key) const {
  if (keys.Find(key) == nullptr) return Unknown(node, name);
  SKIPSTONE_ASSIGN_OR_RETURN(const std::string value, Scalar(node, name));
  const absl::Status status = keys.Set(key, value);
  return status.ok() ? status : Error(node, std::string(status.message()));
}

absl::Status YamlReader::ReadKeys(const YAML::Node& map, const std::string& what,
                                  const std::string& parent, const FlagSet& keys) const {
  return ForEachKey(map, what, [&](const std::string& key, const YAML::Node& node) {
    return ReadKey(node, parent + key, keys, key);
  });
}

absl::Status ReadYaml(
    const std::string& text, const std::string& name,
    const std::function<absl::Status(const YamlReader&, const YAML::Node&)>& visit) {
  const YamlReader reader(name);
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      return reader.Error(documents[1], "a second document: the file is to be one");
    }
    return visit(reader, documents.empty() ? YAML::Node() : documents[0]);
  } catch (const YAML::Exception& e) {
    return reader.At(std::max(e.mark.line, 0), e.msg);
  }
}

}  // namespace skipstone
