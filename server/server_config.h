// The configuration of a server: built-in defaults, then the YAML file, then flags.
//
//   ServerConfig config;
//   RETURN_IF_ERROR(ReadConfigFile("skipstone.yaml", config));
//   FlagSet flags;
//   config.AddTo(flags);
//   flags.Parse(arguments);                                     // a flag wins
//
// Knows no model: that levels parse and arms name levels is checked by Levels and Experiments.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/experiment/arm_guardrail.h"
#include "engine/skip/skip_set.h"
#include "server/settings.h"

namespace skipstone::server {

struct LevelConfig {
  std::string name;
  std::string spec;  // skip grammar, with maps of the levels file "attn:last=25%@diag"
};

struct PolicyConfig {
  bool allow_custom_skip = true;
  std::string max_skipped_attention;   // "75%" or a number of sublayers; empty: no maximum
  std::string max_windowed_attention;  // the same; windowed sublayers are not skipped ones
  int min_window = kMinWindow;         // tokens
  // What a request may ask for, within the ranges of the contract.
  int max_priority = 0;  // everybody may lower himself, and nobody puts himself before the others
  int max_n = 16;
  int max_logprobs = 20;
  // Sequences of one tenant (one per output, one per item of a Score); 0: no limit.
  int max_tenant_running = 0;  // that run or wait
  int max_tenant_queued = 0;   // that wait
  // False: cached prefixes are a tenant's own, and tell nobody what others asked.
  bool share_prefix_cache_across_tenants = false;
};

struct ArmConfig {
  std::string name;
  std::string level;   // empty: the arm changes nothing here, and is only recorded
  double weight = -1;  // >= 0, relative to the other arms
};

// Requests that an experiment does not take.
struct ExcludeConfig {
  std::vector<std::string> tenants;  // values of the key of `fair_share`
  std::optional<int> priority_above;
  std::optional<int> priority_below;
};

// The units of its layer that an experiment may take, as a part of all of them.
struct SliceConfig {
  double from = 0;
  double to = 1;
};

struct GuardrailConfig {
  std::string arm;  // empty: all but the first
  experiment::GuardrailSpec limit;
};

// Arms but the first get the first step's part of all units, then the next one's while all of their
// guardrails hold, and their weights' part in the end.
struct RampConfig {
  std::vector<double> steps;             // ascending, in (0, 1); none: no ramp
  absl::Duration hold = absl::Hours(1);  // of each step, at least
};

struct ExperimentConfig {
  std::string name;
  bool enabled = true;
  std::string layer;     // experiments of one layer are exclusive
  std::string design;    // "mixed" or "switchback"; empty: as the unit says
  std::string unit;      // "metadata:KEY", "request.experiment_key" or "window:60s"
  std::string arm_from;  // "metadata:KEY": the caller names the arm
  bool isolate_prefix_cache = true;
  std::string salt;                       // empty: the name
  std::optional<absl::Duration> washout;  // of a window; unset: a quarter of it
  SliceConfig slice;
  ExcludeConfig exclude;
  std::optional<double> shadow_fraction;  // of its requests; unset: as all others
  std::vector<GuardrailConfig> guardrails;
  RampConfig ramp;
  std::vector<ArmConfig> arms;
};

// Who may call, and what for.
struct ApiKeyConfig {
  std::string tenant;
  std::string sha256;                 // of the key, in hexadecimal digits
  std::string role = "user";          // or "admin", who may abort others' requests
  std::vector<std::string> levels;    // that he may choose; empty: all, and sets of his own
  std::string max_skipped_attention;  // as in the policy
  std::string expires;                // RFC 3339; empty: never
  double requests_per_minute = 0;     // 0: no limit
  double tokens_per_minute = 0;       // of prompts and outputs; 0: no limit
};

struct ServerConfig : Settings {
  std::vector<LevelConfig> levels = {{"full", "none"}};
  PolicyConfig policy;
  std::vector<ExperimentConfig> experiments;
  std::vector<ApiKeyConfig> keys;                      // none: everybody may call
  std::map<std::string, std::vector<double>> buckets;  // histogram, without prefix -> upper bounds

  // The key of `fair_share`, in lower case; empty: off.
  std::string tenant_key() const;
};

// Reads the file over `config`. The setting `levels`, a file, is `levels_file` where the key
// `levels` has levels of the configuration's own. NOT_FOUND; INVALID_ARGUMENT names file, line and
// key.
absl::Status ReadConfigFile(const std::string& path, ServerConfig& config);
// The same from text; `name` stands for the file in messages.
absl::Status ReadConfigText(const std::string& text, const std::string& name, ServerConfig& config);

}  // namespace skipstone::server
