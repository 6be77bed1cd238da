// grpc.health.v1.Health. gRPC's own service reports SERVING from the moment the port is bound;
// this one reports what it is told, from the start.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace skipstone::server {

inline constexpr char kLivenessService[] = "";
inline constexpr char kReadinessService[] = "skipstone.v1.Inference";

// Thread-safe. Outlives the server it is registered with.
class HealthService : public grpc::health::v1::Health::CallbackService {
 public:
  // Both services are known, and NOT_SERVING.
  HealthService();

  void SetServing(const std::string& service, bool serving) ABSL_LOCKS_EXCLUDED(mutex_);
  bool IsServing(const std::string& service) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the Watch streams, which else would hold up a shutdown.
  void Shutdown() ABSL_LOCKS_EXCLUDED(mutex_);

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  grpc::health::v1::HealthCheckResponse* response) override;
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  class Watcher;
  // What to ask of gRPC once the lock is released.
  enum class Action { kNone, kWrite, kFinish };
  using Actions = std::vector<std::pair<Watcher*, Action>>;
  static void DoAll(const Actions& actions);
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;
  Status StatusOf(const std::string& service) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::map<std::string, bool> serving_ ABSL_GUARDED_BY(mutex_);
  std::set<Watcher*> watchers_ ABSL_GUARDED_BY(mutex_);
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace skipstone::server
