#include "server/self_check.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>

#include <string>
#include <utility>

#include "grpc/health/v1/health.grpc.pb.h"
#include "server/health_service.h"
#include "server/logging.h"

namespace skipstone::server {

SelfCheck::SelfCheck(std::function<absl::StatusOr<UniqueFd>()> connect, SelfCheckOptions options)
    : connect_(std::move(connect)), options_(options), thread_([this] { Run(); }) {}

SelfCheck::~SelfCheck() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  stopped_.NotifyAll();
  thread_.join();
}

absl::Status SelfCheck::status() const {
  if (!lost_) return absl::OkStatus();
  return absl::InternalError("the gRPC port no longer answers this server's own calls");
}

bool SelfCheck::Rest() {
  const auto until = std::chrono::steady_clock::now() + options_.interval;
  MutexLock lock(mutex_);
  while (!stop_ && stopped_.WaitUntil(mutex_, until)) {
  }
  return !stop_;
}

void SelfCheck::Run() {
  int failures = 0;
  while (Rest()) {
    const absl::Status status = Call();
    // Without a connection nothing is known of the port.
    if (!absl::IsResourceExhausted(status)) failures = status.ok() ? 0 : failures + 1;
    if (status.ok()) continue;
    LogEvent(Severity::kWarning, "self check failed",
             {{"in_a_row", std::to_string(failures)}, {"status", status.ToString()}});
    if (failures >= options_.failures) lost_ = true;
  }
}

absl::Status SelfCheck::Call() {
  absl::StatusOr<UniqueFd> fd = connect_();
  if (!fd.ok()) return fd.status();
  fcntl(fd->get(), F_SETFL, fcntl(fd->get(), F_GETFL) | O_NONBLOCK);
  const auto channel = grpc::CreateInsecureChannelFromFd("self-check", fd->Release());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + options_.deadline);
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(kLivenessService);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status =
      grpc::health::v1::Health::NewStub(channel)->Check(&context, request, &response);
  // Any answer will do: what is asked is whether the port gives one.
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace skipstone::server
