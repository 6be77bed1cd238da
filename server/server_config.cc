#include "server/server_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone::server {
namespace {

FlagValue Positive(double* target) {
  return Checked(target, "a number above 0",
                 [](double number) { return number > 0 && std::isfinite(number); });
}

FlagSet KeysOf(PolicyConfig& policy) {
  FlagSet keys;
  keys.Add("allow_custom_skip", &policy.allow_custom_skip, "requests may name a set themselves");
  keys.Add("max_skipped_attention", &policy.max_skipped_attention, "75% or a number of sublayers");
  keys.Add("max_windowed_attention", &policy.max_windowed_attention,
           "100% or a number of sublayers");
  keys.Add("min_window", InRange(&policy.min_window, kMinWindow, kMaxWindow),
           "least tokens of a window");
  keys.Add("max_priority", InRange(&policy.max_priority, 0, 100), "of a request");
  keys.Add("max_n", InRange(&policy.max_n, 1, 16), "outputs of a request");
  keys.Add("max_logprobs", InRange(&policy.max_logprobs, 0, 20), "alternatives of a token");
  keys.Add("max_tenant_running", InRange(&policy.max_tenant_running, 0, 1000000),
           "sequences of a tenant that run or wait; 0: no limit");
  keys.Add("max_tenant_queued", InRange(&policy.max_tenant_queued, 0, 1000000),
           "sequences of a tenant that wait; 0: no limit");
  keys.Add("share_prefix_cache_across_tenants", &policy.share_prefix_cache_across_tenants,
           "false: cached prefixes are a tenant's own");
  return keys;
}

FlagSet KeysOf(ArmConfig& arm) {
  FlagSet keys;
  keys.Add("name", &arm.name, "");
  keys.Add("level", &arm.level, "");
  keys.Add("weight", Positive(&arm.weight), "");
  return keys;
}

// All but the arms.
FlagSet KeysOf(ExperimentConfig& experiment) {
  FlagSet keys;
  keys.Add("name", &experiment.name, "");
  keys.Add("enabled", &experiment.enabled, "");
  keys.Add("unit", &experiment.unit, "");
  keys.Add("isolate_prefix_cache", &experiment.isolate_prefix_cache, "");
  keys.Add("salt", &experiment.salt, "");
  return keys;
}

// Reads one file; messages start with "file:line: ".
class ConfigReader {
 public:
  ConfigReader(std::string name, ServerConfig& config) : name_(std::move(name)), config_(config) {}

  absl::Status Read(const YAML::Node& root) {
    if (root.IsNull()) return absl::OkStatus();
    FlagSet settings;
    config_.AddTo(settings);
    return ForEachKey(root, "", [&](const std::string& key, const YAML::Node& node) {
      if (key == "levels") return ReadLevels(node);
      if (key == "policy") {
        return ReadKeys(node, "policy", "policy.", KeysOf(config_.policy));
      }
      if (key == "brownout") return ReadBrownout(node, settings);
      if (key == "experiments") return ReadExperiments(node);
      if (key == "buckets") return ReadBuckets(node);
      return ReadKey(node, key, settings, key);
    });
  }

  absl::Status Error(const YAML::Node& node, const std::string& message) const {
    return At(node.Mark().line, message);
  }
  absl::Status At(int line, const std::string& message) const {
    return absl::InvalidArgumentError(absl::StrFormat("%s:%d: %s", name_, line + 1, message));
  }

 private:
  // `name` as it stands in the file, below its parents.
  absl::Status ReadKey(const YAML::Node& node, const std::string& name, const FlagSet& keys,
                       const std::string& key) const {
    if (keys.Find(key) == nullptr) return Unknown(node, name);
    SKIPSTONE_ASSIGN_OR_RETURN(const std::string value, Scalar(node, name));
    const absl::Status status = keys.Set(key, value);
    return status.ok() ? status : Error(node, std::string(status.message()));
  }

  absl::Status ReadKeys(const YAML::Node& map, const std::string& what, const std::string& parent,
                        const FlagSet& keys) const {
    return ForEachKey(map, what, [&](const std::string& key, const YAML::Node& node) {
      return ReadKey(node, parent + key, keys, key);
    });
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

  absl::Status ReadLevels(const YAML::Node& node) {
    config_.levels.clear();
    return ForEachKey(node, "levels", [&](const std::string& name, const YAML::Node& spec) {
      SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, Scalar(spec, "levels." + name));
      config_.levels.push_back({name, text});
      return absl::OkStatus();
    });
  }

  // The marks together: brownout: {queue: 0.5, pages: 0.95}.
  absl::Status ReadBrownout(const YAML::Node& node, const FlagSet& settings) {
    return ForEachKey(node, "brownout", [&](const std::string& key, const YAML::Node& value) {
      return ReadKey(value, "brownout." + key, settings, "brownout_" + key);
    });
  }

  absl::Status ReadArm(const YAML::Node& node, ExperimentConfig& experiment) {
    ArmConfig arm;
    SKIPSTONE_RETURN_IF_ERROR(ReadKeys(node, "arm", "arms.", KeysOf(arm)));
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
    const FlagSet keys = KeysOf(experiment);
    const auto field = [&](const std::string& key, const YAML::Node& value) -> absl::Status {
      if (key == "shadow") {
        return Error(value, "experiments.shadow: shadow scoring is not available in this version");
      }
      if (key != "arms") return ReadKey(value, "experiments." + key, keys, key);
      if (!value.IsSequence()) return Error(value, "arms: a list is wanted");
      for (const YAML::Node& arm : value) SKIPSTONE_RETURN_IF_ERROR(ReadArm(arm, experiment));
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
                          double bound = 0;
                          FlagSet one;
                          one.Add(key, Positive(&bound), "");
                          SKIPSTONE_RETURN_IF_ERROR(ReadKey(item, key, one, key));
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

std::string ServerConfig::tenant_key() const {
  return absl::AsciiStrToLower(fair_share.substr(fair_share.find(':') + 1));
}

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
