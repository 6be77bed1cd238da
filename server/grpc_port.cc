#include "server/grpc_port.h"

#include <grpc/grpc.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <climits>
#include <utility>

#include "base/status.h"
#include "server/tls.h"
#include "server/validation_pool.h"

namespace skipstone::server {
namespace {

// Names, ids and the like; also the default of gRPC, and what its clients take.
constexpr int kMaxMetadataBytes = 8 << 10;
// From the accept to the client's first HTTP/2 settings; gRPC's own 120 s are for TLS over slow
// links.
constexpr int kHandshakeMs = 20000;

int Milliseconds(std::chrono::milliseconds time) { return static_cast<int>(time.count()); }

void SetConnectionLife(grpc::ServerBuilder& builder, const ServerConfig& config) {
  // Notices within 40 s that a client's host is gone, so that its requests free their pages.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  // Clients may ping between calls too. A tenth less than the interval, since the network brings
  // some of their pings closer together.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             Milliseconds(config.min_ping_interval * 9 / 10));
  const auto set = [&](const char* argument, std::chrono::milliseconds time) {
    if (time.count() > 0) builder.AddChannelArgument(argument, Milliseconds(time));
  };
  set(GRPC_ARG_MAX_CONNECTION_AGE_MS, config.max_connection_age);
  if (config.max_connection_age.count() > 0) {
    set(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, config.max_connection_age_grace);
  }
  set(GRPC_ARG_MAX_CONNECTION_IDLE_MS, config.max_connection_idle);
}

void SetLimits(grpc::ServerBuilder& builder, const ServerConfig& config) {
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, config.max_concurrent_streams);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  if (!config.allow_compressed_requests) {
    // Half a megabyte of gzip is half a gigabyte before the message limit is looked at.
    for (const auto algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
      builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
    }
  }
  // Twice what is served, so that we can tell the client of a larger one not to retry.
  builder.SetMaxReceiveMessageSize(2 * ValidationPool::kMaxRequestBytes);
  grpc::ResourceQuota quota("skipstone");
  quota.Resize(static_cast<size_t>(config.grpc_memory_bytes));
  builder.SetResourceQuota(quota);
}

// The library of reflection adds it to every server of a process that it is linked to.
class WithoutReflection : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins,
                  [](const auto& plugin) { return plugin->name() == "proto_server_reflection"; });
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcPort>> GrpcPort::Open(
    const std::string& address, int max_connections, const ServerConfig& config,
    const std::vector<grpc::Service*>& services) {
  SKIPSTONE_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials,
                             CredentialsOf(config));
  std::unique_ptr<GrpcPort> port(new GrpcPort());
  SKIPSTONE_ASSIGN_OR_RETURN(port->acceptor_, ConnectionAcceptor::Listen(address));
  grpc::ServerBuilder builder;
  SetConnectionLife(builder, config);
  SetLimits(builder, config);
  if (!config.reflection) builder.SetOption(std::make_unique<WithoutReflection>());
  for (grpc::Service* service : services) builder.RegisterService(service);
  const auto take = [&](const std::shared_ptr<grpc::ServerCredentials>& with) {
    return builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, with);
  };
  port->connections_ = take(credentials);
  port->own_connections_ = take(grpc::InsecureServerCredentials());
  port->server_ = builder.BuildAndStart();
  if (!port->server_) return absl::UnavailableError("gRPC did not start");
  port->acceptor_->Start(max_connections, [taken = port.get()](int fd, bool own) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = fd;
    (own ? taken->own_connections_ : taken->connections_)->HandleNewConnection(&parameters);
  });
  return port;
}

GrpcPort::~GrpcPort() {
  if (!server_) return;
  StartShutdown();
  FinishShutdown(std::chrono::milliseconds(0));
}

void GrpcPort::StartShutdown() {
  if (shutdown_.valid()) return;
  acceptor_->Stop();
  shutdown_ = std::async(std::launch::async, [this] { server_->Shutdown(); });
}

void GrpcPort::FinishShutdown(std::chrono::milliseconds wait) {
  // Shutdown with a deadline cancels too, but its deadline is fixed when it begins.
  if (shutdown_.wait_for(wait) != std::future_status::ready) {
    grpc_server_cancel_all_calls(server_->c_server());
  }
  shutdown_.wait();
  server_->Wait();
}

}  // namespace skipstone::server
