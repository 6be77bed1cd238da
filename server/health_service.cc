#include "server/health_service.h"

#include <optional>
#include <utility>

namespace skipstone::server {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// One Watch stream. `mutex_` of the service guards it, and is held over nothing that is asked of
// gRPC, which may call back from within: Next decides, Do acts.
class HealthService::Watcher : public grpc::ServerWriteReactor<HealthCheckResponse> {
 public:
  Watcher(HealthService& service, std::string name) : service_(service), name_(std::move(name)) {
    Action action = Action::kNone;
    {
      MutexLock lock(service_.mutex_);
      service_.watchers_.insert(this);
      ended_ = service_.shut_down_;
      action = Next();
    }
    Do(action);
  }

  const std::string& name() const { return name_; }

  // A write if the status is not the one sent last; the end, once nothing is under way. What is
  // returned must be done: until then the watcher lives.
  Action Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(service_.mutex_) {
    if (writing_ || finished_) return Action::kNone;
    const Status status = service_.StatusOf(name_);
    if (!ended_ && sent_ == status) return Action::kNone;
    finished_ = ended_;
    if (ended_) return Action::kFinish;
    sent_ = status;
    writing_ = true;
    message_.set_status(status);
    return Action::kWrite;
  }
  void Do(Action action) {
    if (action == Action::kWrite) StartWrite(&message_);
    if (action == Action::kFinish) {
      Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the server shuts down"));
    }
  }
  Action End() ABSL_EXCLUSIVE_LOCKS_REQUIRED(service_.mutex_) {
    ended_ = true;
    return Next();
  }

  void OnWriteDone(bool ok) override {
    Action action = Action::kNone;
    {
      MutexLock lock(service_.mutex_);
      writing_ = false;
      action = ok ? Next() : End();
    }
    Do(action);
  }
  void OnCancel() override {
    Action action = Action::kNone;
    {
      MutexLock lock(service_.mutex_);
      action = End();
    }
    Do(action);
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
  bool finished_ = false;
};

HealthService::HealthService() : serving_{{kLivenessService, false}, {kReadinessService, false}} {}

HealthService::Status HealthService::StatusOf(const std::string& service) const {
  const auto it = serving_.find(service);
  if (it == serving_.end()) return HealthCheckResponse::SERVICE_UNKNOWN;
  return it->second ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

void HealthService::SetServing(const std::string& service, bool serving) {
  Actions actions;
  {
    MutexLock lock(mutex_);
    serving_[service] = serving;
    for (Watcher* watcher : watchers_) {
      if (watcher->name() == service) actions.emplace_back(watcher, watcher->Next());
    }
  }
  DoAll(actions);
}

void HealthService::DoAll(const Actions& actions) {
  for (const auto& [watcher, action] : actions) {
    // One that has nothing to do may be gone.
    if (action != Action::kNone) watcher->Do(action);
  }
}

bool HealthService::IsServing(const std::string& service) const {
  MutexLock lock(mutex_);
  return StatusOf(service) == HealthCheckResponse::SERVING;
}

void HealthService::Shutdown() {
  Actions actions;
  {
    MutexLock lock(mutex_);
    shut_down_ = true;
    for (Watcher* watcher : watchers_) actions.emplace_back(watcher, watcher->End());
  }
  DoAll(actions);
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  Status status = HealthCheckResponse::UNKNOWN;
  {
    MutexLock lock(mutex_);
    status = StatusOf(request->service());
  }
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
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
  // No service has a longer name, and a watch keeps it.
  constexpr size_t kMaxNameBytes = 256;
  return new Watcher(*this, request->service().substr(0, kMaxNameBytes));
}

}  // namespace skipstone::server
