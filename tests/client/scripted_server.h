// A server in this process that answers what a test tells it to, and records what it was asked.
//
//   ScriptedServer server;
//   server.FailNext(grpc::StatusCode::UNAVAILABLE, /*pushback=*/"0");
//   server.Answer<v1::TokenizeRequest, v1::TokenizeResponse>(
//       [](const auto& request, auto& response) { response.add_ids(request.text().size()); });
//   Client client(server.address());
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skipstone/v1/inference.grpc.pb.h"

namespace skipstone::client {

struct SeenCall {
  std::string method;
  std::string request;  // ShortDebugString
  std::multimap<std::string, std::string> metadata;
  std::chrono::system_clock::time_point deadline;
};

// Script it before the calls that it is for. Thread-safe.
class ScriptedServer : private v1::Inference::Service {
 public:
  using Writer = grpc::ServerWriter<v1::GenerateEvent>;
  using Message = google::protobuf::Message;
  using Stream = std::function<grpc::Status(grpc::ServerContext&, Writer&)>;

  // `address` as in grpc::ServerBuilder::AddListeningPort; port 0: any.
  explicit ScriptedServer(const std::string& address = "127.0.0.1:0") {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  // Cancels the calls that run.
  ~ScriptedServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  int port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // The next call that no earlier FailNext is for ends so, without a message.
  void FailNext(grpc::StatusCode code, std::optional<std::string> pushback = std::nullopt) {
    std::lock_guard lock(mutex_);
    failures_.push_back({grpc::Status(code, "scripted"), std::move(pushback)});
  }
  // Unary calls with such a request; without it their response is empty.
  template <class Request, class Response>
  void Answer(std::function<void(const Request&, Response&)> answer) {
    Handle<Request, Response>(
        [answer](grpc::ServerContext&, const Request& request, Response& response) {
          answer(request, response);
          return grpc::Status::OK;
        });
  }
  template <class Request, class Response>
  void Handle(std::function<grpc::Status(grpc::ServerContext&, const Request&, Response&)> handle) {
    std::lock_guard lock(mutex_);
    handlers_[Request::descriptor()] = [handle](grpc::ServerContext& context,
                                                const Message& request, Message& response) {
      return handle(context, dynamic_cast<const Request&>(request),
                    dynamic_cast<Response&>(response));
    };
  }
  // What GenerateStream does; without it the stream ends at once, OK.
  void SetStream(Stream stream) {
    std::lock_guard lock(mutex_);
    stream_ = std::move(stream);
  }

  std::vector<SeenCall> calls() {
    std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  struct Failure {
    grpc::Status status;
    std::optional<std::string> pushback;
  };
  using Handler = std::function<grpc::Status(grpc::ServerContext&, const Message&, Message&)>;

  // Records the call; its scripted failure, or OK.
  grpc::Status Enter(const std::string& method, grpc::ServerContext& context,
                     const Message& request) {
    SeenCall call{method, request.ShortDebugString(), {}, context.deadline()};
    for (const auto& [key, value] : context.client_metadata()) {
      call.metadata.emplace(std::string(key.data(), key.size()),
                            std::string(value.data(), value.size()));
    }
    std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
    if (failures_.empty()) return grpc::Status::OK;
    const Failure failure = failures_.front();
    failures_.pop_front();
    if (failure.pushback) context.AddTrailingMetadata("grpc-retry-pushback-ms", *failure.pushback);
    return failure.status;
  }

  grpc::Status Unary(const std::string& method, grpc::ServerContext* context,
                     const Message& request, Message* response) {
    if (grpc::Status status = Enter(method, *context, request); !status.ok()) return status;
    Handler handler;
    {
      std::lock_guard lock(mutex_);
      const auto it = handlers_.find(request.GetDescriptor());
      if (it == handlers_.end()) return grpc::Status::OK;
      handler = it->second;
    }
    return handler(*context, request, *response);
  }

  grpc::Status GenerateStream(grpc::ServerContext* context, const v1::GenerateRequest* request,
                              Writer* writer) override {
    if (grpc::Status status = Enter("GenerateStream", *context, *request); !status.ok()) {
      return status;
    }
    Stream stream;
    {
      std::lock_guard lock(mutex_);
      stream = stream_;
    }
    return stream ? stream(*context, *writer) : grpc::Status::OK;
  }
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        v1::GenerateResponse* response) override {
    return Unary("Generate", context, *request, response);
  }
  grpc::Status Score(grpc::ServerContext* context, const v1::ScoreRequest* request,
                     v1::ScoreResponse* response) override {
    return Unary("Score", context, *request, response);
  }
  grpc::Status Tokenize(grpc::ServerContext* context, const v1::TokenizeRequest* request,
                        v1::TokenizeResponse* response) override {
    return Unary("Tokenize", context, *request, response);
  }
  grpc::Status Detokenize(grpc::ServerContext* context, const v1::DetokenizeRequest* request,
                          v1::DetokenizeResponse* response) override {
    return Unary("Detokenize", context, *request, response);
  }
  grpc::Status GetModel(grpc::ServerContext* context, const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override {
    return Unary("GetModel", context, *request, response);
  }
  grpc::Status GetLoad(grpc::ServerContext* context, const v1::GetLoadRequest* request,
                       v1::GetLoadResponse* response) override {
    return Unary("GetLoad", context, *request, response);
  }
  grpc::Status Abort(grpc::ServerContext* context, const v1::AbortRequest* request,
                     v1::AbortResponse* response) override {
    return Unary("Abort", context, *request, response);
  }

  std::mutex mutex_;
  std::deque<Failure> failures_;
  std::map<const google::protobuf::Descriptor*, Handler> handlers_;
  Stream stream_;
  std::vector<SeenCall> calls_;

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

inline v1::GenerateEvent DeltaEvent(const std::string& text, uint32_t index = 0) {
  v1::GenerateEvent event;
  event.mutable_delta()->set_index(index);
  event.mutable_delta()->set_text(text);
  return event;
}

inline v1::GenerateEvent FinishedEvent(v1::FinishReason reason, uint32_t index = 0) {
  v1::GenerateEvent event;
  event.mutable_finished()->set_index(index);
  event.mutable_finished()->set_reason(reason);
  return event;
}

}  // namespace skipstone::client
