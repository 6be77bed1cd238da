#include "server/server_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone::server {
namespace {

// Reads one file; messages start with "file:line: ".
class ConfigReader {
 public:
  ConfigReader(std::string name, ServerConfig& config) : name_(std::move(name)), config_(config) {}

  absl::Status Read(const YAML::Node& root) {
    if (root.IsNull()) return absl::OkStatus();
    return ForEachKey(root, "", [&](const std::string& key, const YAML::Node& node) {
      if (key == "levels") return ReadLevels(node);
      if (key == "policy") return ReadPolicy(node);
      if (key == "brownout") return ReadBrownout(node);
      if (key == "experiments") return ReadExperiments(node);
      if (key == "buckets") return ReadBuckets(node);
      return ReadSetting(node, key, key);
    });
  }

  absl::Status Error(const YAML::Node& node, const std::string& message) const {
    return At(node.Mark().line, message);
  }
  absl::Status At(int line, const std::string& message) const {
    return absl::InvalidArgumentError(absl::StrFormat("%s:%d: %s", name_, line + 1, message));
  }

 private:
  // `key` as it stands in the file.
  absl::Status ReadSetting(const YAML::Node& node, const std::string& key,
                           const std::string& setting) {
    SKIPSTONE_ASSIGN_OR_RETURN(const std::string value, Scalar(node, key));
    const absl::Status status = ApplySetting(setting, value, config_);
    if (absl::IsNotFound(status)) return Unknown(node, key);
    return status.ok() ? status : Error(node, std::string(status.message()));
  }

  absl::Status Unknown(const YAML::Node& node, const std::string& key) const {
    return Error(node, absl::StrFormat("unknown key '%s'", key));
  }

  template <class F>
  absl::Status ForEachKey(const YAML::Node& map, const std::string& what, F visit) const {
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

  absl::StatusOr<std::string> Scalar(const YAML::Node& node, const std::string& key) const {
    if (!node.IsScalar()) return Error(node, absl::StrFormat("%s: one value is wanted", key));
    return node.Scalar();
  }

  absl::StatusOr<bool> Bool(const YAML::Node& node, const std::string& key) const {
    SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, Scalar(node, key));
    bool value = false;
    if (YAML::convert<bool>::decode(node, value)) return value;
    return Error(node, absl::StrFormat("%s: '%s' is not true or false", key, text));
  }

  absl::StatusOr<double> Positive(const YAML::Node& node, const std::string& key) const {
    SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, Scalar(node, key));
    double value = 0;
    if (YAML::convert<double>::decode(node, value) && value > 0 && std::isfinite(value)) {
      return value;
    }
    return Error(node, absl::StrFormat("%s: '%s' is not a number above 0", key, text));
  }

  absl::Status ReadLevels(const YAML::Node& node) {
    config_.levels.clear();
    return ForEachKey(node, "levels", [&](const std::string& name, const YAML::Node& spec) {
      SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, Scalar(spec, "levels." + name));
      config_.levels.push_back({name, text});
      return absl::OkStatus();
    });
  }

  absl::StatusOr<int> Number(const YAML::Node& node, const std::string& key, int least,
                             int most) const {
    SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, Scalar(node, key));
    int value = 0;
    if (absl::SimpleAtoi(text, &value) && value >= least && value <= most) return value;
    return Error(node, absl::StrFormat("%s: '%s' is not a whole number from %d to %d", key, text,
                                       least, most));
  }

  absl::Status ReadPolicy(const YAML::Node& node) {
    struct Maximum {
      int PolicyConfig::*field;
      int least;
      int most;
    };
    static const std::map<std::string, Maximum> kMaxima = {
        {"max_priority", {&PolicyConfig::max_priority, 0, 100}},
        {"max_n", {&PolicyConfig::max_n, 1, 16}},
        {"max_logprobs", {&PolicyConfig::max_logprobs, 0, 20}},
        {"max_tenant_running", {&PolicyConfig::max_tenant_running, 0, 1000000}},
        {"max_tenant_queued", {&PolicyConfig::max_tenant_queued, 0, 1000000}}};
    PolicyConfig& policy = config_.policy;
    return ForEachKey(
        node, "policy", [&](const std::string& key, const YAML::Node& value) -> absl::Status {
          if (const auto it = kMaxima.find(key); it != kMaxima.end()) {
            SKIPSTONE_ASSIGN_OR_RETURN(policy.*it->second.field,
                                       Number(value, key, it->second.least, it->second.most));
          } else if (key == "allow_custom_skip") {
            SKIPSTONE_ASSIGN_OR_RETURN(policy.allow_custom_skip, Bool(value, key));
          } else if (key == "share_prefix_cache_across_tenants") {
            SKIPSTONE_ASSIGN_OR_RETURN(policy.share_prefix_cache_across_tenants, Bool(value, key));
          } else if (key == "max_skipped_attention") {
            SKIPSTONE_ASSIGN_OR_RETURN(policy.max_skipped_attention, Scalar(value, key));
          } else {
            return Unknown(value, "policy." + key);
          }
          return absl::OkStatus();
        });
  }

  // The marks together: brownout: {queue: 0.5, pages: 0.95}.
  absl::Status ReadBrownout(const YAML::Node& node) {
    return ForEachKey(node, "brownout", [&](const std::string& key, const YAML::Node& value) {
      return ReadSetting(value, "brownout." + key, "brownout_" + key);
    });
  }

  absl::Status ReadArm(const YAML::Node& node, ExperimentConfig& experiment) {
    ArmConfig arm;
    SKIPSTONE_RETURN_IF_ERROR(ForEachKey(
        node, "arm", [&](const std::string& key, const YAML::Node& value) -> absl::Status {
          if (key == "name") {
            SKIPSTONE_ASSIGN_OR_RETURN(arm.name, Scalar(value, key));
          } else if (key == "level") {
            SKIPSTONE_ASSIGN_OR_RETURN(arm.level, Scalar(value, key));
          } else if (key == "weight") {
            SKIPSTONE_ASSIGN_OR_RETURN(arm.weight, Positive(value, key));
          } else {
            return Unknown(value, "arms." + key);
          }
          return absl::OkStatus();
        }));
    if (arm.name.empty() || arm.level.empty() || arm.weight <= 0) {
      return Error(node, "an arm has a name, a level and a weight");
    }
    experiment.arms.push_back(std::move(arm));
    return absl::OkStatus();
  }

  absl::Status ReadExperiments(const YAML::Node& node) {
    config_.experiments.clear();
    if (!node.IsSequence()) return Error(node, "experiments: a list is wanted");
    for (const YAML::Node& item : node) SKIPSTONE_RETURN_IF_ERROR(ReadExperiment(item));
    return absl::OkStatus();
  }

  absl::Status ReadExperiment(const YAML::Node& node) {
    ExperimentConfig experiment;
    const auto field = [&](const std::string& key, const YAML::Node& value) -> absl::Status {
      if (key == "name") {
        SKIPSTONE_ASSIGN_OR_RETURN(experiment.name, Scalar(value, key));
      } else if (key == "enabled") {
        SKIPSTONE_ASSIGN_OR_RETURN(experiment.enabled, Bool(value, key));
      } else if (key == "unit") {
        SKIPSTONE_ASSIGN_OR_RETURN(experiment.unit, Scalar(value, key));
      } else if (key == "salt") {
        SKIPSTONE_ASSIGN_OR_RETURN(experiment.salt, Scalar(value, key));
      } else if (key == "isolate_prefix_cache") {
        SKIPSTONE_ASSIGN_OR_RETURN(experiment.isolate_prefix_cache, Bool(value, key));
      } else if (key == "shadow") {
        return Error(value, "experiments.shadow: shadow scoring is not available in this version");
      } else if (key == "arms") {
        if (!value.IsSequence()) return Error(value, "arms: a list is wanted");
        for (const YAML::Node& arm : value) SKIPSTONE_RETURN_IF_ERROR(ReadArm(arm, experiment));
      } else {
        return Unknown(value, "experiments." + key);
      }
      return absl::OkStatus();
    };
    SKIPSTONE_RETURN_IF_ERROR(ForEachKey(node, "experiment", field));
    if (experiment.name.empty() || experiment.unit.empty() || experiment.arms.empty()) {
      return Error(node, "an experiment has a name, a unit and arms");
    }
    config_.experiments.push_back(std::move(experiment));
    return absl::OkStatus();
  }

  absl::Status ReadBuckets(const YAML::Node& node) {
    return ForEachKey(node, "buckets",
                      [&](const std::string& key, const YAML::Node& list) -> absl::Status {
                        std::vector<double>& bounds = config_.buckets[key];
                        bounds.clear();
                        if (!list.IsSequence())
                          return Error(list, absl::StrFormat("%s: a list is wanted", key));
                        for (const YAML::Node& item : list) {
                          SKIPSTONE_ASSIGN_OR_RETURN(const double bound, Positive(item, key));
                          if (!bounds.empty() && bound <= bounds.back()) {
                            return Error(item, absl::StrFormat("%s: bounds must ascend", key));
                          }
                          bounds.push_back(bound);
                        }
                        return absl::OkStatus();
                      });
  }

  const std::string name_;
  ServerConfig& config_;
};

}  // namespace

absl::Status ReadConfigText(const std::string& text, const std::string& name,
                            ServerConfig& config) {
  ConfigReader reader(name, config);
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      return reader.Error(documents[1], "a second document: a configuration is one");
    }
    return documents.empty() ? absl::OkStatus() : reader.Read(documents[0]);
  } catch (const YAML::Exception& e) {
    return reader.At(std::max(e.mark.line, 0), e.msg);
  }
}

absl::Status ReadConfigFile(const std::string& path, ServerConfig& config) {
  std::ifstream in(path);
  // A directory opens, and fails at the first read.
  if (!in || (in.peek() == EOF && in.bad())) {
    return absl::NotFoundError(absl::StrFormat("%s: the configuration cannot be read", path));
  }
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return ReadConfigText(text, path, config);
}

}  // namespace skipstone::server
