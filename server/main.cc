// skipstone-server: flags over YAML over defaults, signals, exit codes.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <future>
#include <span>
#include <string>
#include <thread>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "base/flag_set.h"
#include "base/status.h"
#include "engine/model/synthetic.h"
#include "server/api_keys.h"
#include "server/config_watch.h"
#include "server/experiments.h"
#include "server/levels.h"
#include "server/log_writer.h"
#include "server/logging.h"
#include "server/process_limits.h"
#include "server/server.h"

namespace skipstone::server {
namespace {

constexpr char kUsage[] =
    "skipstone-server serves Llama 2 over gRPC with per-request sublayer skipping.\n"
    "  skipstone-server --model models/demo\n"
    "  skipstone-server --config skipstone.yaml\n"
    "Flags but --config, --check, --version and --help are keys of the YAML file, too; a flag "
    "wins.\n";
constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;
// Beyond the drain: the engine's end, answers on their way, buffers given back.
constexpr Duration kMostOfEnd = std::chrono::seconds(25);
constexpr auto kHealthInterval = std::chrono::milliseconds(200);
constexpr auto kLoadInterval = std::chrono::milliseconds(20);

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
  SKIPSTONE_ASSIGN_OR_RETURN(const std::optional<LevelsFile> file, OpenLevelsFileOf(config));
  SKIPSTONE_ASSIGN_OR_RETURN(const Levels levels,
                             Levels::Make(config, model.shape.num_layers, model.shape.max_context,
                                          file ? &*file : nullptr));
  SKIPSTONE_ASSIGN_OR_RETURN(const Experiments experiments, Experiments::Make(config, levels));
  SKIPSTONE_RETURN_IF_ERROR(ApiKeys::Make(config.keys, levels, /*previous=*/nullptr).status());
  for (const std::string& warning : experiments.warnings()) {
    std::fprintf(stderr, "skipstone-server: warning: %s\n", warning.c_str());
  }
  return WatchedExperimentsOf(experiments).status();
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

// The configuration as at the start, from the file as it is now.
using ReadsConfig = std::function<absl::StatusOr<ServerConfig>()>;

void Reload(Server& server, const ReadsConfig& read) {
  const absl::StatusOr<ServerConfig> config = read();
  if (config.ok()) {
    server.Reload(*config).IgnoreError();  // it is told
  } else {
    server.RefuseReload(config.status());
  }
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
  for (const LevelPort& port : server.level_addresses()) {
    line += absl::StrFormat(" level:%s=%s", port.level, port.address);
  }
  if (WriteWithin(STDOUT_FILENO, line + "\n", std::chrono::seconds(1))) return;
  LogEvent(Severity::kWarning, "stdout takes no READY line");
}

// Reads the configuration again on SIGHUP and where its file has changed, until another signal
// comes, which it returns, or the engine is lost: 0.
int ServeUntilSignal(Server& server, const ReadsConfig& read, const std::string& file,
                     const sigset_t& set) {
  IdleTrim trim;
  ConfigWatch watch(file);
  while (!absl::IsInternal(server.CheckEngine())) {
    const int signal = WaitForSignal(set, kHealthInterval);
    if (signal != 0 && signal != SIGHUP) return signal;
    const auto now = std::chrono::steady_clock::now();
    trim.Tick(server.idle(), now);
    if (watch.Changed(now) || signal == SIGHUP) Reload(server, read);
  }
  return 0;
}

int Run(const ServerConfig& config, const ReadsConfig& read, const std::string& file) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);  // inherited by every thread
  auto server = Server::Bind(config);
  if (!server.ok()) return Fail(server.status());
  if (const auto status = LoadUnlessSignalled(**server, set); !status.ok()) return Fail(status);
  PrintReady(**server);
  (*server)->WatchOwnPort();
  if (ServeUntilSignal(**server, read, file, set) != 0) return DrainAndExit(**server, config, set);
  // The orchestrator restarts; the clients have their INTERNAL already.
  EndWithin(config.drain_timeout + kMostOfEnd);
  const absl::Status health = (*server)->CheckEngine();
  (*server)->Drain(/*now=*/false);
  return Fail(health);
}

}  // namespace
}  // namespace skipstone::server

int main(int argc, char** argv) {
  using namespace skipstone::server;
  // The distribution's abseil keeps a graph of all locks that are held together, at each of gRPC's
  // calls: a tenth of what its threads did for a token.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  ServerConfig config;
  std::string file;
  bool check = false;
  bool version = false;
  skipstone::FlagSet flags;
  flags.Add("config", &file, "YAML file");
  flags.Add("check", &check, "check the configuration and the model's config, then exit");
  flags.Add("version", &version, "print the version, then exit");
  config.AddTo(flags);
  const std::span<const char* const> args(argv, argc);
  if (const auto exit = skipstone::ParseProgramFlags(flags, args, kUsage)) return *exit;
  if (version) {
    std::printf("skipstone-server %s\n", SKIPSTONE_VERSION);
    return 0;
  }
  const auto read = [&]() -> absl::StatusOr<ServerConfig> {
    config = ServerConfig();
    if (!file.empty()) SKIPSTONE_RETURN_IF_ERROR(ReadConfigFile(file, config));
    skipstone::ParseProgramFlags(flags, args, kUsage);  // over the file
    return config;
  };
  absl::Status status = read().status();
  if (status.ok() && check) status = Check(config);
  if (!status.ok()) {
    std::fprintf(stderr, "skipstone-server: %s\n", std::string(status.message()).c_str());
    return kWrongUsage;
  }
  if (check) {
    std::printf("the configuration is valid\n");
    return 0;
  }
  SetProcessLimits();
  InitLogging(config.log_level, config.log_format);
  const int code = Run(ServerConfig(config), read, file);
  FlushLogging();
  // Nothing that a library does at exit may hold up a failure.
  if (code != 0) _exit(code);
  return code;
}
