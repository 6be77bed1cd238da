#include "server/server_config.h"

#include <cmath>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/levels/yaml_reader.h"

namespace skipstone::server {
namespace {

FlagValue Positive(double* target) {
  return Checked(target, "a number above 0",
                 [](double number) { return number > 0 && std::isfinite(number); });
}

bool IsWeight(double number) { return number >= 0 && std::isfinite(number); }

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

// All but the levels.
FlagSet KeysOf(ApiKeyConfig& key) {
  FlagSet keys;
  keys.Add("tenant", &key.tenant, "");
  keys.Add("sha256", &key.sha256, "");
  keys.Add("role", OneOf(&key.role, {"user", "admin"}), "");
  keys.Add("max_skipped_attention", &key.max_skipped_attention, "");
  keys.Add("expires", &key.expires, "");
  keys.Add("requests_per_minute", Positive(&key.requests_per_minute), "");
  keys.Add("tokens_per_minute", Positive(&key.tokens_per_minute), "");
  return keys;
}

FlagSet KeysOf(ArmConfig& arm) {
  FlagSet keys;
  keys.Add("name", &arm.name, "");
  keys.Add("level", &arm.level, "");
  keys.Add("weight", Checked(&arm.weight, "a number from 0", IsWeight), "");
  return keys;
}

FlagSet KeysOf(SliceConfig& slice) {
  FlagSet keys;
  keys.Add("from", InRange(&slice.from, 0, 1), "");
  keys.Add("to", InRange(&slice.to, 0, 1), "");
  return keys;
}

// All but the tenants.
FlagSet KeysOf(ExcludeConfig& exclude) {
  FlagSet keys;
  keys.Add("priority_above", &exclude.priority_above, "");
  keys.Add("priority_below", &exclude.priority_below, "");
  return keys;
}

// All but what has keys of its own.
FlagSet KeysOf(ExperimentConfig& experiment) {
  FlagSet keys;
  keys.Add("name", &experiment.name, "");
  keys.Add("enabled", &experiment.enabled, "");
  keys.Add("layer", &experiment.layer, "");
  keys.Add("design", OneOf(&experiment.design, {"mixed", "switchback"}), "");
  keys.Add("unit", &experiment.unit, "");
  keys.Add("arm_from", MetadataKey(&experiment.arm_from), "");
  keys.Add("isolate_prefix_cache", &experiment.isolate_prefix_cache, "");
  keys.Add("salt", &experiment.salt, "");
  keys.Add("washout", &experiment.washout, "");
  return keys;
}

// Reads one file over a configuration.
class ConfigReader {
 public:
  ConfigReader(const YamlReader& reader, ServerConfig& config) : reader_(reader), config_(config) {}

  absl::Status Read(const YAML::Node& root) {
    if (root.IsNull()) return absl::OkStatus();
    FlagSet settings;
    config_.AddTo(settings);
    return reader_.ForEachKey(root, "", [&](const std::string& key, const YAML::Node& node) {
      if (key == "levels" && !node.IsScalar()) return ReadLevels(node);
      // Beside levels of the configuration's own.
      if (key == "levels_file") return reader_.ReadKey(node, key, settings, "levels");
      if (key == "policy") {
        return reader_.ReadKeys(node, "policy", "policy.", KeysOf(config_.policy));
      }
      if (key == "brownout") return ReadBrownout(node, settings);
      if (key == "experiments") return ReadExperiments(node);
      if (key == "buckets") return ReadBuckets(node);
      if (key == "keys") {
        config_.keys.clear();
        return ForEachItem(node, key, [&](const YAML::Node& item) { return ReadApiKey(item); });
      }
      return reader_.ReadKey(node, key, settings, key);
    });
  }

 private:
  absl::Status ReadLevels(const YAML::Node& node) {
    config_.levels.clear();
    return reader_.ForEachKey(node, "levels", [&](const std::string& name, const YAML::Node& spec) {
      SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, reader_.Scalar(spec, "levels." + name));
      config_.levels.push_back({name, text});
      return absl::OkStatus();
    });
  }

  // The marks together: brownout: {queue: 0.5, pages: 0.95}.
  absl::Status ReadBrownout(const YAML::Node& node, const FlagSet& settings) {
    return reader_.ForEachKey(
        node, "brownout", [&](const std::string& key, const YAML::Node& value) {
          return reader_.ReadKey(value, "brownout." + key, settings, "brownout_" + key);
        });
  }

  absl::Status ReadArm(const YAML::Node& node, ExperimentConfig& experiment) {
    ArmConfig arm;
    SKIPSTONE_RETURN_IF_ERROR(reader_.ReadKeys(node, "arm", "arms.", KeysOf(arm)));
    if (arm.name.empty() || !IsWeight(arm.weight)) {
      return reader_.Error(node, "an arm has a name and a weight");
    }
    experiment.arms.push_back(std::move(arm));
    return absl::OkStatus();
  }

  absl::Status ReadGuardrail(const YAML::Node& node, ExperimentConfig& experiment) {
    GuardrailConfig guardrail;
    std::optional<double> least, most;
    FlagSet keys;
    keys.Add("arm", &guardrail.arm, "");
    keys.Add("metric", &guardrail.limit.metric, "");
    keys.Add("min", &least, "");
    keys.Add("max", &most, "");
    keys.Add("minimum", &guardrail.limit.minimum, "");
    keys.Add("alpha", &guardrail.limit.alpha, "");
    SKIPSTONE_RETURN_IF_ERROR(reader_.ReadKeys(node, "guardrail", "guardrails.", keys));
    if (guardrail.limit.metric.empty() || least.has_value() == most.has_value()) {
      return reader_.Error(node, "a guardrail has a metric, and min or max");
    }
    guardrail.limit.is_lower = least.has_value();
    guardrail.limit.limit = least ? *least : *most;
    experiment.guardrails.push_back(std::move(guardrail));
    return absl::OkStatus();
  }

  absl::Status ReadExclude(const YAML::Node& node, ExcludeConfig& exclude) {
    const FlagSet keys = KeysOf(exclude);
    const auto field = [&](const std::string& key, const YAML::Node& value) -> absl::Status {
      if (key != "tenants") return reader_.ReadKey(value, "exclude." + key, keys, key);
      return ReadTexts(value, "exclude.tenants", exclude.tenants);
    };
    return reader_.ForEachKey(node, "exclude", field);
  }

  absl::Status ReadExperiments(const YAML::Node& node) {
    config_.experiments.clear();
    return ForEachItem(node, "experiments",
                       [&](const YAML::Node& item) { return ReadExperiment(item); });
  }

  absl::Status ReadExperiment(const YAML::Node& node) {
    ExperimentConfig experiment;
    const FlagSet keys = KeysOf(experiment);
    const auto field = [&](const std::string& key, const YAML::Node& value) -> absl::Status {
      if (key == "shadow") {
        double fraction = 0;
        FlagSet shadow;
        shadow.Add("fraction", InRange(&fraction, 0.0, 1.0), "");
        SKIPSTONE_RETURN_IF_ERROR(reader_.ReadKeys(value, "shadow", "shadow.", shadow));
        experiment.shadow_fraction = fraction;
        return absl::OkStatus();
      }
      if (key == "guardrails") {
        return ForEachItem(value, "guardrails",
                           [&](const YAML::Node& item) { return ReadGuardrail(item, experiment); });
      }
      if (key == "ramp") return ReadRamp(value, experiment.ramp);
      if (key == "exclude") return ReadExclude(value, experiment.exclude);
      if (key == "slice") {
        return reader_.ReadKeys(value, "slice", "slice.", KeysOf(experiment.slice));
      }
      if (key != "arms") return reader_.ReadKey(value, "experiments." + key, keys, key);
      return ForEachItem(value, "arms",
                         [&](const YAML::Node& arm) { return ReadArm(arm, experiment); });
    };
    SKIPSTONE_RETURN_IF_ERROR(reader_.ForEachKey(node, "experiment", field));
    const bool has_unit = !experiment.unit.empty() || !experiment.arm_from.empty();
    if (experiment.name.empty() || !has_unit || experiment.arms.empty()) {
      return reader_.Error(node, "an experiment has a name, a unit and arms");
    }
    config_.experiments.push_back(std::move(experiment));
    return absl::OkStatus();
  }

  absl::Status ReadRamp(const YAML::Node& node, RampConfig& ramp) {
    FlagSet keys;
    keys.Add("ramp.hold", &ramp.hold, "");
    return reader_.ForEachKey(node, "ramp", [&](const std::string& key, const YAML::Node& value) {
      if (key == "steps") return ReadAscending(value, "ramp.steps", "steps", ramp.steps);
      return reader_.ReadKey(value, "ramp." + key, keys, "ramp." + key);
    });
  }

  absl::Status ReadBuckets(const YAML::Node& node) {
    return reader_.ForEachKey(node, "buckets", [&](const std::string& key, const YAML::Node& list) {
      return ReadAscending(list, key, "bounds", config_.buckets[key]);
    });
  }

  // Numbers above 0.
  absl::Status ReadAscending(const YAML::Node& list, const std::string& name, const char* what,
                             std::vector<double>& numbers) {
    numbers.clear();
    return ForEachItem(list, name, [&](const YAML::Node& item) -> absl::Status {
      double number = 0;
      FlagSet one;
      one.Add(name, Positive(&number), "");
      SKIPSTONE_RETURN_IF_ERROR(reader_.ReadKey(item, name, one, name));
      if (!numbers.empty() && number <= numbers.back()) {
        return reader_.Error(item, absl::StrFormat("%s: %s must ascend", name, what));
      }
      numbers.push_back(number);
      return absl::OkStatus();
    });
  }

  absl::Status ReadApiKey(const YAML::Node& node) {
    ApiKeyConfig key;
    const FlagSet keys = KeysOf(key);
    const auto field = [&](const std::string& name, const YAML::Node& value) -> absl::Status {
      if (name == "levels") return ReadTexts(value, "keys.levels", key.levels);
      return reader_.ReadKey(value, "keys." + name, keys, name);
    };
    SKIPSTONE_RETURN_IF_ERROR(reader_.ForEachKey(node, "key", field));
    if (key.tenant.empty() || key.sha256.empty()) {
      return reader_.Error(node, "a key has a tenant and a sha256");
    }
    config_.keys.push_back(std::move(key));
    return absl::OkStatus();
  }

  absl::Status ReadTexts(const YAML::Node& list, const std::string& name,
                         std::vector<std::string>& texts) {
    return ForEachItem(list, name, [&](const YAML::Node& item) -> absl::Status {
      SKIPSTONE_ASSIGN_OR_RETURN(std::string text, reader_.Scalar(item, name));
      texts.push_back(std::move(text));
      return absl::OkStatus();
    });
  }

  template <class Visit>
  absl::Status ForEachItem(const YAML::Node& list, const std::string& name, const Visit& visit) {
    if (!list.IsSequence()) {
      return reader_.Error(list, absl::StrFormat("%s: a list is wanted", name));
    }
    for (const YAML::Node& item : list) SKIPSTONE_RETURN_IF_ERROR(visit(item));
    return absl::OkStatus();
  }

  const YamlReader& reader_;
  ServerConfig& config_;
};

}  // namespace

std::string ServerConfig::tenant_key() const {
  return absl::AsciiStrToLower(fair_share.substr(fair_share.find(':') + 1));
}

absl::Status ReadConfigText(const std::string& text, const std::string& name,
                            ServerConfig& config) {
  return ReadYaml(text, name, [&](const YamlReader& reader, const YAML::Node& root) {
    return ConfigReader(reader, config).Read(root);
  });
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
