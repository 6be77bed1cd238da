#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <prometheus/exposer.h>

#include <exception>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "server/logging.h"

namespace skipstone::server {
namespace {

std::string HostOf(const std::string& address) { return address.substr(0, address.rfind(':')); }

std::string ModelNameOf(const ServerConfig& config) {
  if (!config.model_name.empty()) return config.model_name;
  std::string path = config.model;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.starts_with("synthetic:")) return path;
  return path.substr(path.rfind('/') + 1);
}

void SetUp(grpc::ServerBuilder& builder) {
  // A second server on the same port must fail, not take half of the connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Notices within 40 s that a client's host is gone, so that its requests free their pages.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  // Our client library pings every 30 s, also between calls.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
}

}  // namespace

Server::Server(ServerConfig config)
    : config_(std::move(config)),
      model_name_(ModelNameOf(config_)),
      metrics_(model_name_, config_.buckets),
      stall_watch_(config_.stream_stall_timeout) {}

Server::~Server() { Drain(/*now=*/true); }

absl::StatusOr<std::unique_ptr<Server>> Server::Bind(ServerConfig config) {
  SKIPSTONE_RETURN_IF_ERROR(Metrics::CheckBuckets(config.buckets));
  std::unique_ptr<Server> server(new Server(std::move(config)));
  SKIPSTONE_RETURN_IF_ERROR(server->BindPorts());
  return server;
}

absl::Status Server::BindPorts() {
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetUp(builder);
  builder.AddListeningPort(config_.listen, grpc::InsecureServerCredentials(), &grpc_port_);
  builder.RegisterService(&inference_);
  builder.RegisterService(&health_);
  grpc_server_ = builder.BuildAndStart();
  if (!grpc_server_ || grpc_port_ == 0) {
    return absl::UnavailableError(absl::StrFormat(
        "cannot listen on %s (--listen): is another server running there?", config_.listen));
  }
  if (!config_.health_listen.empty()) {
    grpc::ServerBuilder health;
    SetUp(health);
    health.AddListeningPort(config_.health_listen, grpc::InsecureServerCredentials(),
                            &health_port_);
    health.RegisterService(&health_);
    health_server_ = health.BuildAndStart();
    if (!health_server_ || health_port_ == 0) {
      return absl::UnavailableError(
          absl::StrFormat("cannot listen on %s (--health_listen)", config_.health_listen));
    }
  }
  try {
    exposer_ = std::make_unique<prometheus::Exposer>(config_.metrics_listen);
    exposer_->RegisterCollectable(metrics_.registry());
    metrics_port_ = exposer_->GetListeningPorts().at(0);
  } catch (const std::exception& e) {
    return absl::UnavailableError(absl::StrFormat("cannot listen on %s (--metrics_listen): %s",
                                                  config_.metrics_listen, e.what()));
  }
  return absl::OkStatus();
}

absl::Status Server::Load() {
  SKIPSTONE_ASSIGN_OR_RETURN(ServedModel model, OpenModel(config_));
  return Serve(std::move(model));
}

absl::Status Server::Serve(ServedModel model) {
  SKIPSTONE_ASSIGN_OR_RETURN(Levels levels, Levels::Make(config_, model.options.num_layers));
  SKIPSTONE_ASSIGN_OR_RETURN(Experiments experiments, Experiments::Make(config_, levels));
  model.info.name = model_name_;
  metrics_.SetInfo(SKIPSTONE_VERSION, model.info.backend, model.options.page_tokens,
                   model.options.num_pages / std::max(1, model.options.num_layers));
  serving_ = std::unique_ptr<Serving>(new Serving{.model = std::move(model.info),
                                                  .limits = model.options,
                                                  .tokenizer = model.tokenizer,
                                                  .levels = std::move(levels),
                                                  .experiments = std::move(experiments),
                                                  .tenant_key = config_.tenant_key(),
                                                  .policy = config_.policy,
                                                  .anybody_may_abort = config_.allow_abort == "any",
                                                  .metrics = metrics_,
                                                  .stall_watch = stall_watch_});
  serving_->engine = Engine::Start({.runner = std::move(model.runner),
                                    .tokenizer = std::move(model.tokenizer),
                                    .observer = &metrics_},
                                   model.options);
  inference_.Serve(*serving_);
  health_.SetServing(kLivenessService, true);
  health_.SetServing(kReadinessService, true);
  return absl::OkStatus();
}

absl::Status Server::CheckEngine() {
  if (!serving_) return absl::OkStatus();
  const absl::Status health = serving_->engine->health();
  if (health.ok() == health_.IsServing(kLivenessService)) return health;
  health_.SetServing(kLivenessService, health.ok());
  health_.SetServing(kReadinessService, health.ok() && !serving_->draining);
  LogEvent(health.ok() ? Severity::kInfo : Severity::kError, "engine health",
           {{"status", health.ToString()}});
  return health;
}

void Server::AnnounceDrain() { health_.SetServing(kReadinessService, false); }

bool Server::Drain(bool now) {
  if (!grpc_server_) return true;
  AnnounceDrain();
  bool all_ended = true;
  if (serving_) {
    serving_->draining = true;
    const Duration wait = now ? Duration::zero() : Duration(config_.drain_timeout);
    all_ended = serving_->engine->Drain(SystemClock().Now() + wait);
  }
  health_.Shutdown();
  // What has ended is still on its way to the clients.
  const auto flush = std::chrono::system_clock::now() + std::chrono::seconds(now ? 0 : 5);
  grpc_server_->Shutdown(flush);
  if (health_server_) health_server_->Shutdown(flush);
  grpc_server_->Wait();
  grpc_server_.reset();
  return all_ended;
}

std::string Server::grpc_address() const {
  return absl::StrFormat("%s:%d", HostOf(config_.listen), grpc_port_);
}

std::string Server::metrics_address() const {
  return absl::StrFormat("%s:%d", HostOf(config_.metrics_listen), metrics_port_);
}

std::string Server::health_address() const {
  if (config_.health_listen.empty()) return "";
  return absl::StrFormat("%s:%d", HostOf(config_.health_listen), health_port_);
}

}  // namespace skipstone::server
