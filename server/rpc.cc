#include "server/rpc.h"

#include <algorithm>
#include <chrono>

#include "engine/base/utf8.h"

namespace skipstone::server {

grpc::Status ToGrpc(const absl::Status& status) {
  // Trailing metadata beyond the client's limit, 8 KiB by default, would hide the status. The
  // transport makes three bytes of each one that is not ASCII.
  constexpr size_t kMaxMessageBytes = 2000;
  std::string message(status.message().substr(0, kMaxMessageBytes));
  message.resize(message.size() - IncompleteUtf8Tail(message));
  // The codes of both are numbered alike.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message);
}

void AddRequestId(grpc::ServerContextBase& context, const std::string& request_id) {
  context.AddInitialMetadata("skipstone-request-id", request_id);
}

Time DeadlineOf(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  const auto left = deadline - std::chrono::system_clock::now();
  // gRPC's "no deadline" lies beyond any that a client means.
  if (left > std::chrono::hours(24 * 365)) return kNever;
  return SystemClock().Now() + std::chrono::duration_cast<Duration>(left);
}

bool IsMetadataText(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::optional<std::string> MetadataOf(const grpc::ServerContextBase& context,
                                      const std::string& key) {
  const auto& metadata = context.client_metadata();
  const auto it = metadata.find(key);
  if (it == metadata.end()) return std::nullopt;
  return std::string(it->second.data(), it->second.size());
}

}  // namespace skipstone::server
