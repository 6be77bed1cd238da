// The configuration of a server: built-in defaults, then the YAML file, then flags.
//
//   ServerConfig config;
//   RETURN_IF_ERROR(ReadConfigFile("skipstone.yaml", config));
//   RETURN_IF_ERROR(ApplySetting("threads", "4", config));     // a flag wins
//
// Knows no model: that levels parse and arms name levels is checked by Levels and Experiments.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace skipstone::server {

struct LevelConfig {
  std::string name;
  std::string spec;  // skip grammar
};

struct PolicyConfig {
  bool allow_custom_skip = true;
  std::string max_skipped_attention;  // "75%" or a number of sublayers; empty: no maximum
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
  std::string level;
  double weight = 0;  // > 0, relative to the other arms
};

struct ExperimentConfig {
  std::string name;
  bool enabled = true;
  std::string unit;  // "metadata:KEY", "request.experiment_key" or "window:60s"
  bool isolate_prefix_cache = true;
  std::string salt;  // empty: the name
  std::vector<ArmConfig> arms;
};

struct ServerConfig {
  std::string model;
  std::string model_name;  // label and GetModel; empty: the last part of `model`
  std::string listen = "127.0.0.1:50051";
  std::string metrics_listen = "0.0.0.0:9400";
  std::string health_listen;          // empty: no separate port
  int max_connections = 0;            // to the gRPC port; 0: what the descriptors allow
  int max_concurrent_streams = 1024;  // of a connection
  std::chrono::milliseconds max_connection_age{};  // 0: no limit, likewise idle
  std::chrono::milliseconds max_connection_age_grace = std::chrono::minutes(5);
  std::chrono::milliseconds max_connection_idle{};
  std::chrono::milliseconds min_ping_interval = std::chrono::seconds(5);
  int64_t grpc_memory_bytes = int64_t{512} << 20;  // of messages and buffers of the transport
  bool allow_compressed_requests = false;
  std::string backend = "auto";
  int threads = 0;              // 0: the CPUs this process may use
  int validation_threads = 2;   // that read requests
  int64_t kv_memory_bytes = 0;  // 0: by kv_pages, else a share of what is free
  int64_t kv_pages = 0;
  int page_tokens = 16;
  int max_batch_tokens = 512;
  int max_sequences = 256;
  int max_queue = 1024;
  int64_t max_queue_tokens = 1 << 20;
  std::chrono::nanoseconds itl_bound{};  // 0: none
  double brownout_queue = 0.5;
  double brownout_pages = 0.95;
  std::string fair_share;  // "metadata:KEY"; empty: off
  std::string allow_abort = "own";
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(30);
  std::chrono::milliseconds drain_grace = std::chrono::seconds(2);
  std::chrono::milliseconds stream_stall_timeout = std::chrono::seconds(60);
  std::chrono::milliseconds step_stall_timeout = std::chrono::minutes(5);
  std::string tuning_cache;
  std::string log_level = "info";
  std::string log_format = "text";
  bool liveness = true;
  bool prefix_cache = true;

  std::vector<LevelConfig> levels = {{"full", "none"}};
  std::string default_level = "full";
  PolicyConfig policy;
  std::vector<ExperimentConfig> experiments;
  std::map<std::string, std::vector<double>> buckets;  // histogram, without prefix -> upper bounds

  // The key of `fair_share`, in lower case; empty: off.
  std::string tenant_key() const;
};

// A setting that is a flag and a key of the YAML file under the same name.
struct Setting {
  const char* key;
  const char* help;
};
std::span<const Setting> Settings();
// One entry for each: its flag, the values it takes, what it does, its default.
std::string SettingsHelp();

// INVALID_ARGUMENT names the key, the value and what is allowed; NOT_FOUND: no such key.
absl::Status ApplySetting(const std::string& key, const std::string& value, ServerConfig& config);

// Reads the file over `config`. NOT_FOUND; INVALID_ARGUMENT names file, line and key.
absl::Status ReadConfigFile(const std::string& path, ServerConfig& config);
// The same from text; `name` stands for the file in messages.
absl::Status ReadConfigText(const std::string& text, const std::string& name, ServerConfig& config);

}  // namespace skipstone::server
