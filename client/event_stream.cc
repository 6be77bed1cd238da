#include "client/event_stream.h"

#include <utility>

#include "client/status.h"

namespace skipstone::client {

EventStream::EventStream(std::shared_ptr<v1::Inference::Stub> stub, v1::GenerateRequest request,
                         const CallOptions& options)
    : stub_(std::move(stub)),
      request_(std::move(request)),
      options_(options),
      deadline_(DeadlineOf(options)),
      retry_(options_, deadline_),
      status_(Validate(options)) {
  if (!status_.ok()) return;
  status_ = absl::FailedPreconditionError("the stream has not been read to its end");
  attempt_ = std::make_unique<Attempt>(options_, deadline_);
  attempt_->reader = stub_->GenerateStream(&attempt_->call.context(), request_);
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
      any_event_ = true;
      return true;
    }
    grpc::Status status = attempt_->reader->Finish();
    const bool again =
        !status.ok() && !any_event_ && retry_.WaitForNext(status, attempt_->call.Pushback());
    attempt_.reset();
    if (!again) {
      status_ = ToAbslStatus(status);
      return false;
    }
    attempt_ = std::make_unique<Attempt>(options_, deadline_);
    attempt_->reader = stub_->GenerateStream(&attempt_->call.context(), request_);
  }
  return false;
}

}  // namespace skipstone::client
