#include "client/client.h"

#include <utility>

#include "client/channel.h"
#include "client/request_size.h"
#include "client/status.h"

namespace skipstone::client {

using Stub = v1::Inference::Stub;

Client::Client(const std::string& address) : Client(MakeChannel(address)) {}

Client::Client(const std::shared_ptr<grpc::Channel>& channel)
    : endpoint_(std::make_shared<Endpoint>(channel)) {}

template <typename Request, typename Response>
absl::StatusOr<Response> Client::Call(Method<Request, Response> method, const Request& request,
                                      const CallOptions& options) const {
  if (absl::Status status = Validate(options); !status.ok()) return status;
  if (absl::Status status = CheckRequestSize(request); !status.ok()) return status;
  const Deadline deadline = DeadlineOf(options);
  RetryState retry(options, deadline, endpoint_->budget);
  while (true) {
    CallAttempt attempt(options, deadline);
    Response response;
    grpc::Status status = (endpoint_->stub.get()->*method)(&attempt.context(), request, &response);
    if (status.ok()) {
      endpoint_->budget.CallSucceeded();
      return response;
    }
    if (!retry.WaitForNext(status, attempt.Pushback(), *endpoint_->channel)) {
      return ToAbslStatus(status);
    }
  }
}

absl::StatusOr<v1::GenerateResponse> Client::Generate(const v1::GenerateRequest& request,
                                                      const CallOptions& options) const {
  return Call(&Stub::Generate, request, options);
}

std::unique_ptr<EventStream> Client::GenerateStream(v1::GenerateRequest request,
                                                    const CallOptions& options) const {
  return std::make_unique<EventStream>(endpoint_, std::move(request), options);
}

absl::StatusOr<v1::ScoreResponse> Client::Score(const v1::ScoreRequest& request,
                                                const CallOptions& options) const {
  return Call(&Stub::Score, request, options);
}

absl::StatusOr<v1::TokenizeResponse> Client::Tokenize(const v1::TokenizeRequest& request,
                                                      const CallOptions& options) const {
  return Call(&Stub::Tokenize, request, options);
}

absl::StatusOr<v1::DetokenizeResponse> Client::Detokenize(const v1::DetokenizeRequest& request,
                                                          const CallOptions& options) const {
  return Call(&Stub::Detokenize, request, options);
}

absl::StatusOr<v1::GetModelResponse> Client::GetModel(const CallOptions& options) const {
  return Call(&Stub::GetModel, v1::GetModelRequest(), options);
}

absl::StatusOr<v1::GetLoadResponse> Client::GetLoad(const CallOptions& options) const {
  return Call(&Stub::GetLoad, v1::GetLoadRequest(), options);
}

absl::StatusOr<v1::AbortResponse> Client::Abort(const v1::AbortRequest& request,
                                                const CallOptions& options) const {
  return Call(&Stub::Abort, request, options);
}

}  // namespace skipstone::client
