#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "server/listen_socket.h"
#include "server/logging.h"
#include "server/model_name.h"
#include "server/tls.h"

namespace skipstone::server {
namespace {

// At most how long an end waits for a slow volume.
constexpr Duration kExposureFlush = std::chrono::seconds(2);

std::string HostOf(const std::string& address) { return address.substr(0, address.rfind(':')); }

// Of every request that the configuration lets in.
std::vector<RequestLabels> ExpectedLabels(const LiveConfig& live) {
  std::vector<RequestLabels> labels{{.level = kCustomLevel}};  // also of refused ones
  for (const Level& level : live.levels.all()) labels.push_back({.level = level.name});
  for (const Experiment& experiment : live.experiments.all()) {
    for (const ArmConfig& arm : experiment.config().arms) {
      const std::string& level = arm.level.empty() ? live.default_level : arm.level;
      labels.push_back({.level = level, .arm = experiment.config().name + "/" + arm.name});
    }
  }
  return labels;
}

// What is known of the levels' quality: a gauge, or a warning where nothing is.
void TellQuality(const Levels& levels, ServerMetrics& metrics) {
  for (const Level& level : levels.all()) {
    if (!level.quality && !level.skips_nothing()) continue;
    metrics.level_quality_kl_nats(level.name).Set(level.quality ? level.quality->kl.value : 0);
  }
  if (!levels.has_file()) {
    LogEvent(Severity::kWarning, "quality is not known", {{"why", levels.WhyUnmeasured()}});
    return;
  }
  for (const std::string& name : levels.unmeasured()) {
    LogEvent(Severity::kWarning, "quality is not known",
             {{"skip_level", name}, {"why", "the levels file has none of it"}});
  }
}

LiveConfig::Model LiveModel(const RequestLimits& limits, uint64_t fingerprint,
                            const std::optional<LevelsFile>& file) {
  return {.num_layers = limits.num_layers,
          .max_context = limits.max_context,
          .fingerprint = fingerprint,
          .levels_file = file ? &*file : nullptr};
}

absl::Status CannotListen(const std::string& address, const char* flag, const absl::Status& why) {
  if (absl::IsInvalidArgument(why)) return why;  // of TLS: it names its own flag
  return absl::UnavailableError(
      absl::StrFormat("cannot listen on %s (--%s): %s", address, flag, std::string(why.message())));
}

}  // namespace

Server::Server(ServerConfig config)
    : config_(std::move(config)),
      model_name_(ServedNameOf(config_.model_name, config_.model)),
      metrics_(model_name_, config_.buckets),
      stall_watch_(config_.stream_stall_timeout),
      write_batches_([this](const std::string& peer) { return SocketOf(peer); }) {}

Server::~Server() { Drain(/*now=*/true); }

absl::StatusOr<std::unique_ptr<Server>> Server::Bind(ServerConfig config) {
  SKIPSTONE_RETURN_IF_ERROR(Metrics::CheckBuckets(config.buckets));
  std::unique_ptr<Server> server(new Server(std::move(config)));
  // Before /metrics, which counts its lines.
  SKIPSTONE_ASSIGN_OR_RETURN(server->exposure_log_, ExposureLog::Open(server->config_));
  SKIPSTONE_RETURN_IF_ERROR(server->BindPorts());
  return server;
}

absl::Status Server::BindPorts() {
  SKIPSTONE_ASSIGN_OR_RETURN(const ConnectionLimits limits,
                             ConnectionLimitsOf(config_.max_connections, MaxDescriptors(),
                                                LevelPortsOf(config_.level_listen).size()));
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto grpc = GrpcPort::Open(config_.listen, limits.grpc, config_, {&inference_, &vllm_, &health_});
  if (!grpc.ok()) return CannotListen(config_.listen, "listen", grpc.status());
  grpc_port_ = *std::move(grpc);
  if (!config_.health_listen.empty()) {
    auto health = GrpcPort::Open(config_.health_listen, limits.health, config_, {&health_});
    if (!health.ok()) return CannotListen(config_.health_listen, "health_listen", health.status());
    health_port_ = *std::move(health);
  }
  SKIPSTONE_RETURN_IF_ERROR(BindLevelPorts(limits.level));
  auto metrics =
      MetricsPort::Open(config_.metrics_listen, limits.metrics, [this] { return MetricsText(); });
  if (!metrics.ok())
    return CannotListen(config_.metrics_listen, "metrics_listen", metrics.status());
  metrics_port_ = *std::move(metrics);
  std::vector<LevelPort> ports = LevelPortsOf(config_.level_listen);
  ports.push_back({.level = "", .address = config_.listen});
  for (const LevelPort& port : ports) {
    if (IsLoopback(port.address) || !config_.tls_cert.empty()) continue;
    LogEvent(Severity::kWarning,
             "the gRPC port is public and not encrypted: keep it behind a proxy",
             {{"listen", port.address}});
  }
  return absl::OkStatus();
}

absl::Status Server::BindLevelPorts(int max_connections) {
  for (const LevelPort& port : LevelPortsOf(config_.level_listen)) {
    auto level = std::make_unique<ServedLevel>(port);
    auto grpc = GrpcPort::Open(port.address, max_connections, config_, {&level->service, &health_});
    if (!grpc.ok()) return CannotListen(port.address, "level_listen", grpc.status());
    level->grpc = *std::move(grpc);
    levels_.push_back(std::move(level));
  }
  return absl::OkStatus();
}

int Server::SocketOf(const std::string& peer) const {
  int socket = grpc_port_->acceptor().SocketOf(peer);
  for (auto level = levels_.begin(); socket < 0 && level != levels_.end(); ++level) {
    socket = (*level)->grpc->acceptor().SocketOf(peer);
  }
  return socket;
}

std::string Server::MetricsText() {
  int open = grpc_port_->acceptor().open_connections();
  int64_t refused = grpc_port_->acceptor().refused_connections();
  for (const auto& level : levels_) {
    open += level->grpc->acceptor().open_connections();
    refused += level->grpc->acceptor().refused_connections();
  }
  ServerMetrics& metrics = metrics_.server();
  metrics.open_fds.Set(OpenDescriptors());
  metrics.max_fds.Set(MaxDescriptors());
  metrics.open_connections.Set(open);
  if (!config_.tls_cert.empty()) {
    // 0: what is in the file now is no certificate.
    const auto end = CertificateEnd(config_.tls_cert);
    metrics.tls_certificate_end_seconds(config_.tls_cert)
        .Set(end.ok() ? absl::ToUnixSeconds(*end) : 0);
  }
  CountUpTo(refused, metrics.refused_connections_total);
  CountUpTo(DroppedLogLines(), metrics.log_lines_dropped_total);
  if (exposure_log_) {
    const LogWriter::Counts counts = exposure_log_->counts();
    CountUpTo(counts.written, metrics.exposure_records_total("written"));
    CountUpTo(counts.dropped, metrics.exposure_records_total("dropped"));
    CountUpTo(counts.failed, metrics.exposure_records_total("failed"));
  }
  return metrics_.Text();
}

absl::Status Server::Load() {
  SKIPSTONE_ASSIGN_OR_RETURN(ServedModel model, OpenModel(config_));
  return Serve(std::move(model));
}

void Server::TellLive(const LiveConfig& live) {
  metrics_.Expect(ExpectedLabels(live));
  metrics_.server().config_generation.Set(static_cast<double>(live.generation));
  TellQuality(live.levels, metrics_.server());
}

absl::Status Server::Serve(ServedModel model) {
  SKIPSTONE_ASSIGN_OR_RETURN(
      std::shared_ptr<const LiveConfig> live,
      LiveConfig::Make(config_,
                       LiveModel(model.options.limits, model.info.fingerprint, model.levels_file),
                       metrics_.server(), /*previous=*/nullptr));
  model.info.name = model_name_;
  metrics_.SetInfo(
      SKIPSTONE_VERSION, model.info.backend, model.options.scheduler.page_tokens,
      model.options.scheduler.num_pages / std::max(1, model.options.limits.num_layers));
  TellLive(*live);
  serving_ =
      std::unique_ptr<Serving>(new Serving{.model = std::move(model.info),
                                           .config = config_,
                                           .tokenizer = model.tokenizer,
                                           .tokenizer_archive = std::move(model.tokenizer_archive),
                                           .levels_file = std::move(model.levels_file),
                                           .live = LiveConfigs(std::move(live)),
                                           .metrics = metrics_,
                                           .stall_watch = stall_watch_,
                                           .write_batches = write_batches_,
                                           .exposure_log = exposure_log_.get()});
  serving_->config.engine = model.options;
  serving_->engine = Engine::Start({.runner = std::move(model.runner),
                                    .tokenizer = std::move(model.tokenizer),
                                    .observer = &metrics_,
                                    .output_batches = &write_batches_},
                                   model.options);
  serving_->validation = std::make_unique<ValidationPool>(
      ValidationPool::Options{.threads = config_.validation_threads});
  inference_.Serve(*serving_);
  vllm_.Serve(*serving_);
  for (const auto& level : levels_) level->service.Serve(*serving_);
  health_.SetServing(kLivenessService, true);
  health_.SetServing(kReadinessService, true);
  return absl::OkStatus();
}

absl::Status Server::Reload(const ServerConfig& config) {
  if (!serving_) return absl::FailedPreconditionError("the model is loading");
  const auto now = serving_->live.current();
  const LiveConfig::Model model =
      LiveModel(serving_->config.engine.limits, serving_->model.fingerprint, serving_->levels_file);
  ServerConfig bound = config;
  bound.level_listen = config_.level_listen;  // whose levels must go on to exist
  auto next = LiveConfig::Make(bound, model, metrics_.server(), now.get());
  if (!next.ok()) {
    RefuseReload(next.status());
    return next.status();
  }
  TellLive(**next);
  LogEvent(Severity::kInfo, "configuration read",
           {{"generation", absl::StrFormat("%d", (*next)->generation)},
            {"need_restart", absl::StrJoin(NeedRestart(config_, config), " ")}});
  serving_->live.Replace(*std::move(next));
  return absl::OkStatus();
}

void Server::RefuseReload(const absl::Status& why) {
  metrics_.server().config_reload_failures_total.Increment();
  LogEvent(Severity::kError, "configuration refused, the old one is served",
           {{"why", std::string(why.message())}});
}

void Server::WatchOwnPort(SelfCheckOptions options) {
  self_check_ = std::make_unique<SelfCheck>(
      [&acceptor = grpc_port_->acceptor()] { return acceptor.ConnectToSelf(); }, options);
}

absl::Status Server::CheckEngine() {
  if (!serving_) return absl::OkStatus();
  absl::Status health = serving_->engine->health();
  if (health.ok() && self_check_) health = self_check_->status();
  if (health.ok() == health_.IsServing(kLivenessService)) return health;
  health_.SetServing(kLivenessService, health.ok());
  health_.SetServing(kReadinessService, health.ok() && !serving_->leaving);
  LogEvent(health.ok() ? Severity::kInfo : Severity::kError, "engine health",
           {{"status", health.ToString()}});
  return health;
}

bool Server::idle() const {
  if (!serving_) return false;
  const EngineLoad load = serving_->engine->load();
  return load.running == 0 && load.waiting == 0;
}

void Server::AnnounceDrain() {
  if (serving_) serving_->leaving = true;
  health_.SetServing(kReadinessService, false);
}

bool Server::Drain(bool now) {
  if (!grpc_port_ || std::exchange(drained_, true)) return true;
  AnnounceDrain();
  self_check_.reset();  // it would be refused
  if (serving_) serving_->draining = true;
  grpc_port_->StartShutdown();
  for (const auto& level : levels_) level->grpc->StartShutdown();
  bool all_ended = true;
  if (serving_) {
    const Duration wait = now ? Duration::zero() : Duration(config_.drain_timeout);
    all_ended = serving_->engine->Drain(SystemClock().Now() + wait);
  }
  health_.Shutdown();
  if (exposure_log_) exposure_log_->Flush(kExposureFlush);
  // What has ended is still on its way to the clients.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(now ? 0 : 5);
  const auto left = [end] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
        std::max(end - std::chrono::steady_clock::now(), std::chrono::nanoseconds(0)));
  };
  grpc_port_->FinishShutdown(left());
  for (const auto& level : levels_) level->grpc->FinishShutdown(left());
  return all_ended;
}

std::string Server::grpc_address() const {
  return absl::StrFormat("%s:%d", HostOf(config_.listen), grpc_port_->port());
}

std::string Server::metrics_address() const {
  return absl::StrFormat("%s:%d", HostOf(config_.metrics_listen), metrics_port_->port());
}

std::vector<LevelPort> Server::level_addresses() const {
  std::vector<LevelPort> addresses;
  for (const auto& level : levels_) {
    addresses.push_back({level->port.level, absl::StrFormat("%s:%d", HostOf(level->port.address),
                                                            level->grpc->port())});
  }
  return addresses;
}

std::string Server::health_address() const {
  if (!health_port_) return "";
  return absl::StrFormat("%s:%d", HostOf(config_.health_listen), health_port_->port());
}

}  // namespace skipstone::server
