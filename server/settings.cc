// The settings that are flags as well as YAML keys: one table for both.
#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "engine/kv/page_pool.h"
#include "server/server_config.h"

namespace skipstone::server {
namespace {

constexpr std::string_view kMetadata = "metadata:";
constexpr std::string_view kIsNot = " is not ";

// How a setting is read from text, and written so that it could be read again.
struct Apply {
  using Read = std::function<absl::Status(const std::string& value, ServerConfig& config)>;
  using Write = std::function<std::string(const ServerConfig& config)>;
  Read read;
  Write write;
};

absl::Status Wrong(const std::string& value, const std::string& wanted) {
  return absl::InvalidArgumentError(
      absl::StrFormat("'%s'%s%s", value, std::string(kIsNot), wanted));
}

Apply::Write TextOf(std::string ServerConfig::*field) {
  return [field](const ServerConfig& config) { return config.*field; };
}

Apply Text(std::string ServerConfig::*field) {
  return {[field](const std::string& value, ServerConfig& config) {
            config.*field = value;
            return absl::OkStatus();
          },
          TextOf(field)};
}

Apply OneOf(std::string ServerConfig::*field, std::vector<std::string> choices) {
  return {[field, choices](const std::string& value, ServerConfig& config) {
            std::string list;
            for (const std::string& choice : choices) {
              if (value == choice) {
                config.*field = value;
                return absl::OkStatus();
              }
              list += (list.empty() ? "" : ", ") + choice;
            }
            return Wrong(value, "one of " + list);
          },
          TextOf(field)};
}

template <class T>
Apply Number(T ServerConfig::*field, int64_t least, int64_t most) {
  return {[=](const std::string& value, ServerConfig& config) {
            int64_t number = 0;
            if (!absl::SimpleAtoi(value, &number) || number < least || number > most) {
              return Wrong(value, absl::StrFormat("a whole number from %d to %d", least, most));
            }
            config.*field = static_cast<T>(number);
            return absl::OkStatus();
          },
          [field](const ServerConfig& config) { return absl::StrFormat("%d", config.*field); }};
}

Apply Bool(bool ServerConfig::*field) {
  return {[field](const std::string& value, ServerConfig& config) {
            return absl::SimpleAtob(value, &(config.*field)) ? absl::OkStatus()
                                                             : Wrong(value, "true or false");
          },
          [field](const ServerConfig& config) { return config.*field ? "true" : "false"; }};
}

template <class D>
Apply UpTo24h(D ServerConfig::*field) {
  return {[field](const std::string& value, ServerConfig& config) {
            absl::Duration duration;
            if (!absl::ParseDuration(value, &duration) || duration < absl::ZeroDuration() ||
                duration > absl::Hours(24)) {
              return Wrong(value, "a duration up to 24h, such as 30s or 500ms");
            }
            config.*field = std::chrono::duration_cast<D>(absl::ToChronoNanoseconds(duration));
            return absl::OkStatus();
          },
          [field](const ServerConfig& config) {
            return absl::FormatDuration(absl::FromChrono(config.*field));
          }};
}

const std::pair<const char*, double> kUnits[] = {{"TiB", 1024.0 * 1024 * 1024 * 1024},
                                                 {"GiB", 1024.0 * 1024 * 1024},
                                                 {"MiB", 1024.0 * 1024},
                                                 {"KiB", 1024.0},
                                                 {"B", 1.0}};

std::string BytesText(int64_t bytes) {
  for (const auto& [unit, scale] : kUnits) {
    if (bytes % static_cast<int64_t>(scale) != 0) continue;
    return absl::StrFormat("%d%s", bytes / static_cast<int64_t>(scale), unit);
  }
  return "";
}

Apply Bytes(int64_t ServerConfig::*field) {
  return {
      [field](const std::string& value, ServerConfig& config) {
        double scale = 1;
        std::string digits = value;
        for (const auto& [suffix, bytes] : kUnits) {
          if (!value.ends_with(suffix)) continue;
          digits = value.substr(0, value.size() - std::string(suffix).size());
          scale = bytes;
          break;
        }
        double number = 0;
        if (!absl::SimpleAtod(digits, &number) || !(number * scale >= 1) || number * scale > 1e15) {
          return Wrong(value, "an amount of memory, such as 4GiB or 512MiB");
        }
        config.*field = static_cast<int64_t>(number * scale);
        return absl::OkStatus();
      },
      [field](const ServerConfig& config) { return BytesText(config.*field); }};
}

Apply Share(double ServerConfig::*field) {
  return {[field](const std::string& value, ServerConfig& config) {
            double number = 0;
            if (!absl::SimpleAtod(value, &number) || !(number >= 0)) {
              return Wrong(value, "a share, such as 0.5; above 1: never");
            }
            config.*field = number;
            return absl::OkStatus();
          },
          [field](const ServerConfig& config) { return absl::StrFormat("%g", config.*field); }};
}

Apply MetadataKey(std::string ServerConfig::*field) {
  return {[field](const std::string& value, ServerConfig& config) {
            const auto legal = [](char c) {
              return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
            };
            if (!value.empty() &&
                (!value.starts_with(kMetadata) || value.size() == kMetadata.size() ||
                 !std::all_of(value.begin() + kMetadata.size(), value.end(), legal))) {
              return Wrong(value, "metadata:KEY, a key of letters, digits, '-', '_' and '.'");
            }
            config.*field = value;
            return absl::OkStatus();
          },
          TextOf(field)};
}

Apply Address(std::string ServerConfig::*field) {
  return {[field](const std::string& value, ServerConfig& config) {
            const size_t colon = value.rfind(':');
            int port = -1;
            if (colon == std::string::npos || colon == 0 ||
                !absl::SimpleAtoi(value.substr(colon + 1), &port) || port < 0 || port > 65535) {
              return Wrong(value, "HOST:PORT");
            }
            config.*field = value;
            return absl::OkStatus();
          },
          TextOf(field)};
}

struct Entry {
  Setting setting;
  Apply apply;
};

const std::vector<Entry>& Table() {
  using C = ServerConfig;
  static const auto* const table = new std::vector<Entry>{
      {{"model", "Hugging Face directory, or synthetic:llama-2-7b and the like"}, Text(&C::model)},
      {{"model_name", "name in metrics and GetModel; default: last part of --model"},
       Text(&C::model_name)},
      {{"listen", "address of the gRPC service; port 0: any"}, Address(&C::listen)},
      {{"metrics_listen", "address of /metrics; port 0: any"}, Address(&C::metrics_listen)},
      {{"health_listen", "plaintext port with grpc.health.v1 only"}, Address(&C::health_listen)},
      {{"max_connections", "open connections to the gRPC port; default: from ulimit -n"},
       Number(&C::max_connections, 1, 65536)},
      {{"max_concurrent_streams", "calls at once of one connection; more wait at the client"},
       Number(&C::max_concurrent_streams, 1, 1000000)},
      {{"max_connection_age", "then a client is told to connect again; 0: never"},
       UpTo24h(&C::max_connection_age)},
      {{"max_connection_age_grace", "how long calls may go on after that"},
       UpTo24h(&C::max_connection_age_grace)},
      {{"max_connection_idle", "a connection without calls is closed after it; 0: never"},
       UpTo24h(&C::max_connection_idle)},
      {{"min_ping_interval", "clients that ping more often are disconnected"},
       UpTo24h(&C::min_ping_interval)},
      {{"grpc_memory", "what messages and buffers of gRPC are to stay below"},
       Bytes(&C::grpc_memory_bytes)},
      {{"allow_compressed_requests", "true: take gzip and deflate, which inflate without limit"},
       Bool(&C::allow_compressed_requests)},
      {{"backend", "auto, cpu or cuda"}, OneOf(&C::backend, {"auto", "cpu", "cuda"})},
      {{"threads", "CPU threads; default: affinity and cgroup limits"},
       Number(&C::threads, 1, 1024)},
      {{"validation_threads", "threads that parse and tokenise requests"},
       Number(&C::validation_threads, 1, 64)},
      {{"kv_memory", "memory for K/V pages; default: a share of what is free"},
       Bytes(&C::kv_memory_bytes)},
      {{"kv_pages", "number of K/V pages, wins over --kv_memory; default: from it"},
       Number(&C::kv_pages, 1, PagePool::kMaxPages)},
      {{"page_tokens", "tokens of one K/V page"}, Number(&C::page_tokens, 1, 256)},
      {{"max_batch_tokens", "work of one step, in prompt rows without skipping"},
       // A step's rows, up to twice as many, stay within 65536.
       Number(&C::max_batch_tokens, 1, 32768)},
      {{"max_sequences", "sequences that run at once"}, Number(&C::max_sequences, 1, 8192)},
      {{"max_queue", "sequences that may wait"}, Number(&C::max_queue, 1, 1000000)},
      {{"max_queue_tokens", "prompt tokens that may wait"},
       Number(&C::max_queue_tokens, 1, int64_t{1} << 40)},
      {{"itl_bound", "what prefill may add to a step in which others decode; 0: no bound"},
       UpTo24h(&C::itl_bound)},
      {{"brownout_queue",
        "share of --max_queue above which adaptive requests start at their ceiling"},
       Share(&C::brownout_queue)},
      {{"brownout_pages", "share of the K/V pages in use above which they do"},
       Share(&C::brownout_pages)},
      {{"fair_share", "metadata:KEY names a request's tenant, tenants share fairly"},
       MetadataKey(&C::fair_share)},
      {{"allow_abort", "own: a call is aborted over its own connection only; any: by anybody"},
       OneOf(&C::allow_abort, {"own", "any"})},
      {{"drain_timeout", "how long running requests may take after SIGTERM"},
       UpTo24h(&C::drain_timeout)},
      {{"drain_grace", "how long new requests are taken after SIGTERM"}, UpTo24h(&C::drain_grace)},
      {{"stream_stall_timeout", "a reader that takes nothing for so long is aborted"},
       UpTo24h(&C::stream_stall_timeout)},
      {{"step_stall_timeout", "a step that takes longer turns liveness NOT_SERVING"},
       UpTo24h(&C::step_stall_timeout)},
      {{"tuning_cache", "file for what the CUDA backend tuned at start"}, Text(&C::tuning_cache)},
      {{"log_level", "debug, info, warn or error"},
       OneOf(&C::log_level, {"debug", "info", "warn", "error"})},
      {{"log_format", "text or json"}, OneOf(&C::log_format, {"text", "json"})},
      {{"liveness", "false: run dead rows too (for tests)"}, Bool(&C::liveness)},
      {{"prefix_cache", "share K/V pages of equal prefixes"}, Bool(&C::prefix_cache)},
      {{"default_level", "level of requests that choose none"}, Text(&C::default_level)}};
  return *table;
}

}  // namespace

std::string ServerConfig::tenant_key() const {
  return absl::AsciiStrToLower(fair_share.substr(std::min(fair_share.size(), kMetadata.size())));
}

std::span<const Setting> Settings() {
  static const auto* const settings = [] {
    auto* list = new std::vector<Setting>;
    for (const Entry& entry : Table()) list->push_back(entry.setting);
    return list;
  }();
  return *settings;
}

std::string SettingsHelp() {
  std::string text;
  const ServerConfig defaults;
  for (const auto& [setting, apply] : Table()) {
    // What it says of a value that nothing takes.
    ServerConfig scratch;
    const absl::Status wrong = apply.read("\n", scratch);
    text += absl::StrFormat("  --%s", setting.key);
    if (!wrong.ok()) {
      const std::string message(wrong.message());
      text += ": " + message.substr(message.find(kIsNot) + kIsNot.size());
    }
    text += absl::StrFormat("\n      %s", setting.help);
    // A default that could not be given, such as 0 for "by the machine", is told by `help`.
    const std::string value = apply.write(defaults);
    const bool given = !value.empty() && apply.read(value, scratch).ok();
    if (given) text += absl::StrFormat(" (default: %s)", value);
    if (!given && !absl::StrContains(setting.help, "default:")) text += " (default: none)";
    text += '\n';
  }
  return text;
}

absl::Status ApplySetting(const std::string& key, const std::string& value, ServerConfig& config) {
  for (const Entry& entry : Table()) {
    if (key != entry.setting.key) continue;
    const absl::Status status = entry.apply.read(value, config);
    if (status.ok()) return status;
    return absl::Status(status.code(),
                        absl::StrFormat("%s: %s", key, std::string(status.message())));
  }
  return absl::NotFoundError(absl::StrFormat("unknown setting '%s'", key));
}

}  // namespace skipstone::server
