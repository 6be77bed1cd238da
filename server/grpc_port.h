// A gRPC server on one address, with the limits that keep one client from taking it over.
#pragma once

#include <grpcpp/grpcpp.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/connection_acceptor.h"
#include "server/server_config.h"

namespace skipstone::server {

// One thread calls, but for `acceptor`.
class GrpcPort {
 public:
  // The services outlive this. UNAVAILABLE says why the address cannot be bound; INVALID_ARGUMENT:
  // the files of TLS.
  static absl::StatusOr<std::unique_ptr<GrpcPort>> Open(
      const std::string& address, int max_connections, const ServerConfig& config,
      const std::vector<grpc::Service*>& services);
  // Ends what runs.
  ~GrpcPort();
  GrpcPort(const GrpcPort&) = delete;
  GrpcPort& operator=(const GrpcPort&) = delete;

  int port() const { return acceptor_->port(); }
  ConnectionAcceptor& acceptor() { return *acceptor_; }

  // Takes no connections any more and sends GOAWAY on those there are: clients go elsewhere with
  // their next calls, running ones go on.
  void StartShutdown();
  // Waits up to `wait` for the running calls, then cancels them. After StartShutdown.
  void FinishShutdown(std::chrono::milliseconds wait);

 private:
  GrpcPort() = default;

  std::unique_ptr<ConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  // Connections of this process to itself, which are not encrypted.
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> own_connections_;
  std::unique_ptr<grpc::Server> server_;
  std::future<void> shutdown_;
};

}  // namespace skipstone::server
