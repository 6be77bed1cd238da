// A server process without its signals: ports, health, metrics, and what is served once a model is
// there.
//
//   auto server = Server::Bind(config);            // ports taken; requests get UNAVAILABLE
//   RETURN_IF_ERROR((*server)->Load());            // now they are served, readiness is SERVING
//   ...
//   (*server)->Drain();                            // finishes what runs
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/levels/levels_file.h"
#include "server/exposure_log.h"
#include "server/grpc_port.h"
#include "server/health_service.h"
#include "server/inference_service.h"
#include "server/metrics.h"
#include "server/metrics_port.h"
#include "server/process_limits.h"
#include "server/self_check.h"
#include "server/server_config.h"
#include "server/serving.h"
#include "server/stall_watch.h"
#include "server/vllm/tokenizer_archive.h"
#include "server/vllm/vllm_service.h"
#include "server/write_batches.h"

namespace skipstone::server {

// What Serve needs of a model; tests bring a fake runner.
struct ServedModel {
  ModelInfo info;
  EngineOptions options;
  std::unique_ptr<ModelRunner> runner;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::optional<LevelsFile> levels_file = {};
  absl::StatusOr<TokenizerArchive> tokenizer_archive =
      absl::FailedPreconditionError("this model has no files of a tokenizer");
};

// One thread calls; the ports have their own.
class Server {
 public:
  // UNAVAILABLE names the address that cannot be bound, or the file that cannot be opened.
  // INVALID_ARGUMENT: the configuration.
  static absl::StatusOr<std::unique_ptr<Server>> Bind(ServerConfig config);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Loads the configured model, then Serve.
  absl::Status Load();
  absl::Status Serve(ServedModel model);

  // Levels, policy, experiments and keys of `config` from the next request on: all of it or, where
  // something is wrong with it, nothing, which log and metrics tell. Errors: those of LiveConfig.
  absl::Status Reload(const ServerConfig& config);
  // Tells of one that could not even be read.
  void RefuseReload(const absl::Status& why);

  // From now on CheckEngine also tells whether the gRPC port answers.
  void WatchOwnPort(SelfCheckOptions options = {});

  // Brings liveness in line with the engine's health, and returns that health: INTERNAL means that
  // the device or the port is lost and the process should end.
  absl::Status CheckEngine();
  // No request runs or waits.
  bool idle() const;

  // Readiness NOT_SERVING; requests are still taken.
  void AnnounceDrain();
  // Takes no more requests, which clients are told by GOAWAY at once, waits for the running ones up
  // to the configured time, ends the others. The ports of health and metrics stay. Returns whether
  // all ended by themselves. `now`: do not wait.
  bool Drain(bool now);

  std::string grpc_address() const;
  std::string metrics_address() const;
  // Empty without --health_listen.
  std::string health_address() const;
  std::vector<LevelPort> level_addresses() const;
  HealthService& health() { return health_; }

 private:
  explicit Server(ServerConfig config);
  absl::Status BindPorts();
  absl::Status BindLevelPorts(int max_connections);
  int SocketOf(const std::string& peer) const;
  void TellLive(const LiveConfig& live);
  std::string MetricsText();

  const ServerConfig config_;
  const std::string model_name_;
  Metrics metrics_;
  HealthService health_;
  InferenceService inference_;
  VllmService vllm_;
  StallWatch stall_watch_;
  WriteBatches write_batches_;
  std::unique_ptr<ExposureLog> exposure_log_;
  std::unique_ptr<Serving> serving_;
  // A port whose model is one level.
  struct ServedLevel {
    explicit ServedLevel(const LevelPort& from) : port(from), service(from.level) {}
    const LevelPort port;
    VllmService service;
    std::unique_ptr<GrpcPort> grpc;
  };
  std::unique_ptr<GrpcPort> health_port_;
  std::vector<std::unique_ptr<ServedLevel>> levels_;
  std::unique_ptr<GrpcPort> grpc_port_;  // no call outlives it
  std::unique_ptr<MetricsPort> metrics_port_;
  std::unique_ptr<SelfCheck> self_check_;
  bool drained_ = false;
};

// What the configuration says of the engine; what the model says is still to be set.
EngineOptions EngineOptionsOf(const ServerConfig& config);

// The configured model's tokenizer, if it belongs to a model of this configuration.
absl::StatusOr<std::shared_ptr<const Tokenizer>> OpenTokenizerOf(const ServerConfig& config,
                                                                 const ModelConfig& model);

// What --levels names, nothing if it names nothing. Errors name the file.
absl::StatusOr<std::optional<LevelsFile>> OpenLevelsFileOf(const ServerConfig& config);

// Opens the configured model and makes its runner: the page pool takes --kv_pages, --kv_memory, or
// a share of the memory that is free.
absl::StatusOr<ServedModel> OpenModel(const ServerConfig& config);

}  // namespace skipstone::server
