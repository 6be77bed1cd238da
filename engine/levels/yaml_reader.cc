#include "engine/levels/yaml_reader.h"

#include <yaml-cpp/eventhandler.h>

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone {
namespace {

// Keeps where each document begins.
class Documents : public YAML::EventHandler {
 public:
  // Of the second document; nothing if there is none. The library's own LoadAll never ends where a
  // document takes nothing of the text, as in ",}".
  static std::optional<YAML::Mark> Second(const std::string& text) {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    Documents documents;
    for (int i = 0; i < 2; ++i) {
      documents.first_.reset();
      if (!parser.HandleNextDocument(documents)) return std::nullopt;
    }
    return documents.first_;
  }

 private:
  using Mark = YAML::Mark;
  void Keep(const Mark& mark) {
    if (!first_) first_ = mark;
  }
  void OnDocumentStart(const Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const Mark& mark, YAML::anchor_t) override { Keep(mark); }
  void OnAlias(const Mark& mark, YAML::anchor_t) override { Keep(mark); }
  void OnScalar(const Mark& mark, const std::string&, YAML::anchor_t, const std::string&) override {
    Keep(mark);
  }
  void OnSequenceStart(const Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    Keep(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    Keep(mark);
  }
  void OnMapEnd() override {}

  std::optional<Mark> first_;  // event of the document
};

}  // namespace

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
    if (const auto second = Documents::Second(text)) {
      return reader.At(std::max(second->line, 0), "a second document: the file is to be one");
    }
    return visit(reader, YAML::Load(text));
  } catch (const YAML::Exception& e) {
    return reader.At(std::max(e.mark.line, 0), e.msg);
  }
}

}  // namespace skipstone
