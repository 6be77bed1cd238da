// The settings of a server's ports: addresses, TLS, what connections may cost.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "server/setting_values.h"

namespace skipstone::server {

struct PortSettings {
  std::string listen = "127.0.0.1:50051";
  std::string metrics_listen = "0.0.0.0:9400";
  std::string health_listen;
  std::string level_listen;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_client_ca;
  int max_connections = 0;
  int max_concurrent_streams = 1024;
  std::chrono::milliseconds max_connection_age{};
  std::chrono::milliseconds max_connection_age_grace = std::chrono::minutes(5);
  std::chrono::milliseconds max_connection_idle{};
  std::chrono::milliseconds min_ping_interval = std::chrono::seconds(5);
  int64_t grpc_memory_bytes = int64_t{512} << 20;
  bool allow_compressed_requests = false;
  bool reflection = true;

  // As of Settings.
  template <class Flags>
  void AddTo(Flags& flags) {
    flags.Add("listen", Address(&listen), "address of the gRPC service; port 0: any");
    flags.Add("metrics_listen", Address(&metrics_listen), "address of /metrics; port 0: any");
    flags.Add("health_listen", Address(&health_listen), "a port with grpc.health.v1 only");
    flags.Add("level_listen", LevelPorts(&level_listen),
              "for gateways: ports where vLLM's dialect serves one level, each a model of its own");
    flags.Add("tls_cert", &tls_cert,
              "PEM file: the gRPC and health ports speak TLS with it; read again when it changes");
    flags.Add("tls_key", &tls_key, "PEM file: its private key");
    flags.Add("tls_client_ca", &tls_client_ca,
              "PEM file: only clients with a certificate of these are let in");
    flags.Add("max_connections", InRange(&max_connections, 1, 65536),
              "open connections to the gRPC port; default: from ulimit -n");
    flags.Add("max_concurrent_streams", InRange(&max_concurrent_streams, 1, 1000000),
              "calls at once of one connection; more wait at the client");
    flags.Add("max_connection_age", UpTo24h(&max_connection_age),
              "then a client is told to connect again; 0: never");
    flags.Add("max_connection_age_grace", UpTo24h(&max_connection_age_grace),
              "how long calls may go on after that");
    flags.Add("max_connection_idle", UpTo24h(&max_connection_idle),
              "a connection without calls is closed after it; 0: never");
    flags.Add("min_ping_interval", UpTo24h(&min_ping_interval),
              "clients that ping more often are disconnected");
    flags.Add("grpc_memory", Bytes(&grpc_memory_bytes),
              "what messages and buffers of gRPC are to stay below");
    flags.Add("allow_compressed_requests", Switch(&allow_compressed_requests),
              "true: take gzip and deflate, which inflate without limit");
    flags.Add("reflection", Switch(&reflection),
              "false: the ports do not list their services and messages");
  }
};

}  // namespace skipstone::server
