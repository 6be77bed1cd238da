#include "server/health_service.h"

#include <optional>
#include <utility>

namespace skipstone::server {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// One Watch stream. `mutex_` of the service guards it.
class HealthService::Watcher : public grpc::ServerWriteReactor<HealthCheckResponse> {
 public:
  Watcher(HealthService& service, std::string name) : service_(service), name_(std::move(name)) {
    MutexLock lock(service_.mutex_);
    service_.watchers_.insert(this);
    Update();
    if (service_.shut_down_) End();
  }

  const std::string& name() const { return name_; }

  // Sends the status if it is not the one sent last and no write is under way.
  void Update() ABSL_EXCLUSIVE_LOCKS_REQUIRED(service_.mutex_) {
    const Status status = service_.StatusOf(name_);
    if (writing_ || ended_ || sent_ == status) return;
    sent_ = status;
    writing_ = true;
    message_.set_status(status);
    StartWrite(&message_);
  }

  void End() ABSL_EXCLUSIVE_LOCKS_REQUIRED(service_.mutex_) {
    if (std::exchange(ended_, true)) return;
    Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the server shuts down"));
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(service_.mutex_);
    writing_ = false;
    if (ok) {
      Update();
    } else {
      End();
    }
  }
  void OnCancel() override {
    MutexLock lock(service_.mutex_);
    End();
  }
  void OnDone() override {
    {
      MutexLock lock(service_.mutex_);
      service_.watchers_.erase(this);
    }
    delete this;
  }

 private:
  HealthService& service_;
  const std::string name_;
  HealthCheckResponse message_;
  std::optional<Status> sent_;
  bool writing_ = false;
  bool ended_ = false;
};

HealthService::HealthService() : serving_{{kLivenessService, false}, {kReadinessService, false}} {}

HealthService::Status HealthService::StatusOf(const std::string& service) const {
  const auto it = serving_.find(service);
  if (it == serving_.end()) return HealthCheckResponse::SERVICE_UNKNOWN;
  return it->second ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

void HealthService::SetServing(const std::string& service, bool serving) {
  MutexLock lock(mutex_);
  serving_[service] = serving;
  for (Watcher* watcher : watchers_) {
    if (watcher->name() == service) watcher->Update();
  }
}

bool HealthService::IsServing(const std::string& service) const {
  MutexLock lock(mutex_);
  return StatusOf(service) == HealthCheckResponse::SERVING;
}

void HealthService::Shutdown() {
  MutexLock lock(mutex_);
  shut_down_ = true;
  for (Watcher* watcher : watchers_) watcher->End();
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  MutexLock lock(mutex_);
  const Status status = StatusOf(request->service());
  if (status == HealthCheckResponse::SERVICE_UNKNOWN) {
    reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND, "no such service"));
    return reactor;
  }
  response->set_status(status);
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(
    grpc::CallbackServerContext*, const HealthCheckRequest* request) {
  return new Watcher(*this, request->service());
}

}  // namespace skipstone::server
