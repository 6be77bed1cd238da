#include "server/rpc.h"

#include <chrono>

namespace skipstone::server {

grpc::Status ToGrpc(const absl::Status& status) {
  // The codes of both are numbered alike.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

Time DeadlineOf(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  const auto left = deadline - std::chrono::system_clock::now();
  // gRPC's "no deadline" lies beyond any that a client means.
  if (left > std::chrono::hours(24 * 365)) return kNever;
  return SystemClock().Now() + std::chrono::duration_cast<Duration>(left);
}

std::optional<std::string> MetadataOf(const grpc::ServerContextBase& context,
                                      const std::string& key) {
  const auto& metadata = context.client_metadata();
  const auto it = metadata.find(key);
  if (it == metadata.end()) return std::nullopt;
  return std::string(it->second.data(), it->second.size());
}

}  // namespace skipstone::server
