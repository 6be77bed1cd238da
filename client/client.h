// The library that a backend service links to call a Skipstone server.
//
//   Client client("localhost:50051");  // or Client(channel), for credentials of your own
//   v1::GenerateRequest request;
//   request.set_text("In the beginning");
//   request.mutable_skip()->set_spec("attn:last=33%");  // this request skips a third of attention
//   CallOptions options;
//   options.timeout = std::chrono::seconds(5);
//   absl::StatusOr<v1::GenerateResponse> response = client.Generate(request, options);
//   if (!response.ok()) return response.status();
//   std::cout << response->outputs(0).delta().text();
//
// Streaming:
//   auto stream = client.GenerateStream(request, options);
//   v1::GenerateEvent event;
//   while (stream->Next(event)) std::cout << event.delta().text() << std::flush;
//   if (!stream->status().ok()) return stream->status();
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/call_options.h"
#include "client/event_stream.h"
#include "skipstone/v1/inference.grpc.pb.h"

namespace skipstone::client {

// Calls block the calling thread. Errors carry the server's gRPC code and message; a request above
// kMaxRequestBytes is INVALID_ARGUMENT at once. Thread-safe: make one for the life of the process,
// and share it, with its connections and its budget of retries.
class Client {
 public:
  // `address` as in MakeChannel; plaintext.
  explicit Client(const std::string& address);
  // For credentials and arguments of your own: start from those of client/channel.h, or answers
  // above 4 MiB cannot be received and a lost connection is tried again late.
  explicit Client(const std::shared_ptr<grpc::Channel>& channel);

  absl::StatusOr<v1::GenerateResponse> Generate(const v1::GenerateRequest& request,
                                                const CallOptions& options = {}) const;
  // Never null; an error shows in the stream's status.
  std::unique_ptr<EventStream> GenerateStream(v1::GenerateRequest request,
                                              const CallOptions& options = {}) const;
  absl::StatusOr<v1::ScoreResponse> Score(const v1::ScoreRequest& request,
                                          const CallOptions& options = {}) const;
  absl::StatusOr<v1::TokenizeResponse> Tokenize(const v1::TokenizeRequest& request,
                                                const CallOptions& options = {}) const;
  absl::StatusOr<v1::DetokenizeResponse> Detokenize(const v1::DetokenizeRequest& request,
                                                    const CallOptions& options = {}) const;
  absl::StatusOr<v1::GetModelResponse> GetModel(const CallOptions& options = {}) const;
  absl::StatusOr<v1::GetLoadResponse> GetLoad(const CallOptions& options = {}) const;
  // Ends live requests by id: of this connection, or anybody's where the server allows it.
  absl::StatusOr<v1::AbortResponse> Abort(const v1::AbortRequest& request,
                                          const CallOptions& options = {}) const;

 private:
  template <typename Request, typename Response>
  using Method = grpc::Status (v1::Inference::Stub::*)(grpc::ClientContext*, const Request&,
                                                       Response*);
  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(Method<Request, Response> method, const Request& request,
                                const CallOptions& options) const;

  // Shared with the streams, which may outlive this.
  std::shared_ptr<Endpoint> endpoint_;
};

}  // namespace skipstone::client
