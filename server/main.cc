// skipstone-server: flags over YAML over defaults, signals, exit codes.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "base/status.h"
#include "engine/model/synthetic.h"
#include "server/experiments.h"
#include "server/levels.h"
#include "server/log_writer.h"
#include "server/logging.h"
#include "server/process_limits.h"
#include "server/server.h"

ABSL_FLAG(std::string, config, "", "YAML file; every other flag is also a key of it, a flag wins");
ABSL_FLAG(bool, check, false, "check the configuration and the model's config, then exit");

// One flag per row of server/settings.cc. Empty: not given.
ABSL_FLAG(std::string, model, "", "Hugging Face directory, or synthetic:llama-2-7b and the like");
ABSL_FLAG(std::string, model_name, "", "name in metrics; default: last part of --model");
ABSL_FLAG(std::string, listen, "", "gRPC address; default 127.0.0.1:50051; port 0: any");
ABSL_FLAG(std::string, metrics_listen, "", "address of /metrics; default 0.0.0.0:9400");
ABSL_FLAG(std::string, health_listen, "", "plaintext port with grpc.health.v1 only; default none");
ABSL_FLAG(std::string, max_connections, "", "to the gRPC port; default: from ulimit -n");
ABSL_FLAG(std::string, max_concurrent_streams, "", "calls at once of a connection; default 1024");
ABSL_FLAG(std::string, max_connection_age, "", "then clients connect again; default 0: never");
ABSL_FLAG(std::string, max_connection_age_grace, "", "for calls after it; default 5m");
ABSL_FLAG(std::string, max_connection_idle, "", "then it is closed; default 0: never");
ABSL_FLAG(std::string, min_ping_interval, "", "of clients' pings; default 5s");
ABSL_FLAG(std::string, grpc_memory, "", "for messages and buffers; default 512MiB");
ABSL_FLAG(std::string, allow_compressed_requests, "", "take gzip and deflate; default false");
ABSL_FLAG(std::string, backend, "", "auto, cpu or cuda; default auto");
ABSL_FLAG(std::string, threads, "", "CPU threads; default: affinity and cgroup limits");
ABSL_FLAG(std::string, validation_threads, "", "threads that read requests; default 2");
ABSL_FLAG(std::string, kv_memory, "", "memory for K/V pages, such as 4GiB; default: a share");
ABSL_FLAG(std::string, kv_pages, "", "number of K/V pages; wins over --kv_memory");
ABSL_FLAG(std::string, page_tokens, "", "tokens of one K/V page; default 16");
ABSL_FLAG(std::string, max_batch_tokens, "",
          "work of a step, in unskipped prompt rows; default 512");
ABSL_FLAG(std::string, max_sequences, "", "sequences that run at once; default 256");
ABSL_FLAG(std::string, max_queue, "", "sequences that may wait; default 1024");
ABSL_FLAG(std::string, max_queue_tokens, "", "prompt tokens that may wait; default 1048576");
ABSL_FLAG(
    std::string, itl_bound, "",
    "what prefill may add to a step in which others decode, such as 50ms; default 0: no bound");
ABSL_FLAG(std::string, brownout_queue, "",
          "share of --max_queue above which adaptive requests start at their ceiling; default 0.5");
ABSL_FLAG(std::string, brownout_pages, "",
          "share of the K/V pages in use above which they do; above 1: never; default 0.95");
ABSL_FLAG(std::string, fair_share, "",
          "metadata:KEY names a request's tenant, and tenants share fairly; default off");
ABSL_FLAG(std::string, allow_abort, "",
          "own: a call is aborted over its own connection only; any: by anybody; default own");
ABSL_FLAG(std::string, drain_timeout, "", "for running requests after SIGTERM; default 30s");
ABSL_FLAG(std::string, drain_grace, "", "requests are still taken after SIGTERM; default 2s");
ABSL_FLAG(std::string, stream_stall_timeout, "", "for a reader that takes nothing; default 60s");
ABSL_FLAG(std::string, step_stall_timeout, "", "for one step, then liveness fails; default 5m");
ABSL_FLAG(std::string, tuning_cache, "", "file for what the CUDA backend tuned at start");
ABSL_FLAG(std::string, log_level, "", "debug, info, warn or error; default info");
ABSL_FLAG(std::string, log_format, "", "text or json; default text");
ABSL_FLAG(std::string, liveness, "", "false: run dead rows too (for tests); default true");
ABSL_FLAG(std::string, prefix_cache, "", "share pages of equal prefixes; default true");
ABSL_FLAG(std::string, default_level, "", "level of requests that choose none; default full");

namespace skipstone::server {
namespace {

constexpr char kUsage[] =
    "skipstone-server serves Llama 2 over gRPC with per-request sublayer skipping.\n"
    "  skipstone-server --model models/demo\n"
    "  skipstone-server --config skipstone.yaml\n";
constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;
// Beyond the drain: the engine's end, answers on their way, buffers given back.
constexpr Duration kMostOfEnd = std::chrono::seconds(25);
constexpr auto kHealthInterval = std::chrono::milliseconds(200);
constexpr auto kLoadInterval = std::chrono::milliseconds(20);

bool AsksForHelp(const std::vector<std::string>& args) {
  return std::any_of(args.begin(), args.end(), [](const std::string& arg) {
    return arg == "--help" || arg == "-help" || arg == "-h" || arg == "--helpshort";
  });
}

// Not absl's own: the defaults are those of ServerConfig, which its flags do not know.
void PrintHelp() {
  absl::PrintF("%s\n", kUsage);
  for (const char* name : {"config", "check"}) {
    const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    absl::PrintF("  --%s\n      %s (default: %s)\n", name, flag->Help(),
                 flag->DefaultValue().empty() ? "none" : flag->DefaultValue());
  }
  absl::PrintF("\nAlso keys of the YAML file:\n%s", SettingsHelp());
}

absl::Status ReadConfig(ServerConfig& config) {
  if (const std::string file = absl::GetFlag(FLAGS_config); !file.empty()) {
    SKIPSTONE_RETURN_IF_ERROR(ReadConfigFile(file, config));
  }
  for (const Setting& setting : Settings()) {
    const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(setting.key);
    SKIPSTONE_CHECK(flag != nullptr);
    const std::string value = flag->CurrentValue();
    if (value.empty()) continue;
    const absl::Status status = ApplySetting(setting.key, value, config);
    if (!status.ok()) {
      return absl::Status(status.code(), "--" + std::string(status.message()));
    }
  }
  return absl::OkStatus();
}

// Everything that can be said of a configuration without weights or ports.
absl::Status Check(const ServerConfig& config) {
  SKIPSTONE_RETURN_IF_ERROR(Metrics::CheckBuckets(config.buckets));
  if (config.model.empty()) return absl::InvalidArgumentError("model: none is given");
  ModelConfig model;
  if (IsSyntheticModel(config.model)) {
    SKIPSTONE_ASSIGN_OR_RETURN(const SyntheticSpec spec, ParseSyntheticModel(config.model));
    model = spec.config;
  } else {
    SKIPSTONE_ASSIGN_OR_RETURN(model, ReadModelConfig(config.model));
  }
  SKIPSTONE_RETURN_IF_ERROR(OpenTokenizerOf(config, model).status());
  SKIPSTONE_ASSIGN_OR_RETURN(const Levels levels, Levels::Make(config, model.shape.num_layers));
  return Experiments::Make(config, levels).status();
}

int Fail(const absl::Status& status) {
  LogEvent(Severity::kError, "failed", {{"status", status.ToString()}});
  return kFailed;
}

// Whatever hangs from here on, a device or a library, holds up the end no longer than this.
void EndWithin(Duration wait) {
  std::thread([wait] {
    std::this_thread::sleep_for(wait);
    LogEvent(Severity::kError, "ended by force",
             {{"after_s", absl::StrFormat("%.0f", Seconds(wait))}});
    FlushLogging();
    _exit(kFailed);
  }).detach();
}

// Waits up to `wait` for a signal of `set`; 0 if none came.
int WaitForSignal(const sigset_t& set, std::chrono::milliseconds wait) {
  const timespec time = {.tv_sec = wait.count() / 1000, .tv_nsec = wait.count() % 1000 * 1000000};
  const int signal = sigtimedwait(&set, nullptr, &time);
  return signal > 0 ? signal : 0;
}

// Takes requests for a while longer, until load balancers know, then drains. A second signal ends
// the process at once.
int DrainAndExit(Server& server, const ServerConfig& config, const sigset_t& set) {
  LogEvent(Severity::kInfo, "draining");
  server.AnnounceDrain();
  if (WaitForSignal(set, config.drain_grace) != 0) return kFailed;
  EndWithin(config.drain_timeout + kMostOfEnd);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);  // the default action is to end
  const bool all_ended = server.Drain(/*now=*/false);
  LogEvent(Severity::kInfo, "drained", {{"all_ended", all_ended ? "true" : "false"}});
  const absl::Status health = server.CheckEngine();
  return health.ok() ? 0 : Fail(health);
}

// Loads on a thread of its own, so that a signal ends the process whatever loading is about: it
// has nothing to finish.
absl::Status LoadUnlessSignalled(Server& server, const sigset_t& set) {
  std::future<absl::Status> loading =
      std::async(std::launch::async, [&server] { return server.Load(); });
  bool loaded = false;
  while (!loaded) {
    loaded = loading.wait_for(kLoadInterval) == std::future_status::ready;
    if (WaitForSignal(set, std::chrono::milliseconds(0)) == 0) continue;
    LogEvent(Severity::kInfo, "stopped while loading");
    FlushLogging();
    _exit(0);
  }
  return loading.get();
}

// Who started the server may not read it.
void PrintReady(const Server& server) {
  std::string line =
      absl::StrFormat("READY grpc=%s metrics=%s", server.grpc_address(), server.metrics_address());
  if (const std::string health = server.health_address(); !health.empty()) {
    line += " health=" + health;
  }
  if (WriteWithin(STDOUT_FILENO, line + "\n", std::chrono::seconds(1))) return;
  LogEvent(Severity::kWarning, "stdout takes no READY line");
}

int Run(const ServerConfig& config) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);  // inherited by every thread
  auto server = Server::Bind(config);
  if (!server.ok()) return Fail(server.status());
  if (const auto status = LoadUnlessSignalled(**server, set); !status.ok()) return Fail(status);
  PrintReady(**server);
  (*server)->WatchOwnPort();
  IdleTrim trim;
  while (WaitForSignal(set, kHealthInterval) == 0) {
    const absl::Status health = (*server)->CheckEngine();
    trim.Tick((*server)->idle(), std::chrono::steady_clock::now());
    if (!absl::IsInternal(health)) continue;
    // The orchestrator restarts; the clients have their INTERNAL already.
    EndWithin(config.drain_timeout + kMostOfEnd);
    (*server)->Drain(/*now=*/false);
    return Fail(health);
  }
  return DrainAndExit(**server, config, set);
}

}  // namespace
}  // namespace skipstone::server

int main(int argc, char** argv) {
  using namespace skipstone::server;
  // The distribution's abseil keeps a graph of all locks that are held together, at each of gRPC's
  // calls: a tenth of what its threads did for a token.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  absl::SetProgramUsageMessage(kUsage);
  if (AsksForHelp({argv + 1, argv + argc})) {
    PrintHelp();
    return 0;
  }
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  ServerConfig config;
  absl::Status status = ReadConfig(config);
  if (rest.size() > 1) {
    status = absl::InvalidArgumentError("unexpected argument '" + std::string(rest[1]) + "'");
  }
  if (status.ok() && absl::GetFlag(FLAGS_check)) status = Check(config);
  if (!status.ok()) {
    std::fprintf(stderr, "skipstone-server: %s\n", std::string(status.message()).c_str());
    return kWrongUsage;
  }
  if (absl::GetFlag(FLAGS_check)) {
    std::printf("the configuration is valid\n");
    return 0;
  }
  SetProcessLimits();
  InitLogging(config.log_level, config.log_format);
  const int code = Run(config);
  FlushLogging();
  // Nothing that a library does at exit may hold up a failure.
  if (code != 0) _exit(code);
  return code;
}
