#include "client/event_stream.h"

#include <utility>

#include "client/request_size.h"
#include "client/status.h"

namespace skipstone::client {

EventStream::EventStream(std::shared_ptr<Endpoint> endpoint, v1::GenerateRequest request,
                         const CallOptions& options)
    : endpoint_(std::move(endpoint)),
      request_(std::move(request)),
      options_(options),
      deadline_(DeadlineOf(options)),
      retry_(options_, deadline_, endpoint_->budget),
      status_(Validate(options)) {
  if (status_.ok()) status_ = CheckRequestSize(request_);
  if (!status_.ok()) return;
  status_ = absl::FailedPreconditionError("the stream has not been read to its end");
  StartAttempt();
}

void EventStream::StartAttempt() {
  attempt_ = std::make_unique<Attempt>(options_, deadline_);
  attempt_->reader = endpoint_->stub->GenerateStream(&attempt_->call.context(), request_);
}

EventStream::~EventStream() {
  if (attempt_ == nullptr) return;
  // A reader must be finished before its context goes.
  attempt_->call.context().TryCancel();
  attempt_->reader->Finish();
}

bool EventStream::Next(v1::GenerateEvent& event) {
  while (attempt_ != nullptr) {
    if (attempt_->reader->Read(&event)) {
      if (!any_event_) endpoint_->budget.CallSucceeded();
      any_event_ = true;
      return true;
    }
    grpc::Status status = attempt_->reader->Finish();
    const bool again = !status.ok() && !any_event_ &&
                       retry_.WaitForNext(status, attempt_->call.Pushback(), *endpoint_->channel);
    attempt_.reset();
    if (!again) {
      status_ = ToAbslStatus(status);
      return false;
    }
    StartAttempt();
  }
  return false;
}

}  // namespace skipstone::client
