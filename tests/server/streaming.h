// A GenerateStream call under way, and what came of it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "skipstone/v1/inference.grpc.pb.h"

namespace skipstone::server {

class Streaming {
 public:
  Streaming(v1::Inference::Stub& stub, const v1::GenerateRequest& request,
            const std::function<void(grpc::ClientContext&)>& prepare = {}) {
    if (prepare) prepare(context_);
    reader_ = stub.GenerateStream(&context_, request);
  }

  // False at the end.
  bool Read() {
    v1::GenerateEvent event;
    if (!reader_->Read(&event)) return false;
    events_.push_back(std::move(event));
    return true;
  }
  // Wants deltas with tokens.
  void ReadTokens(int count) {
    while (tokens() < count && Read()) {
    }
  }
  // Reads the rest.
  grpc::Status ReadAll() {
    while (Read()) {
    }
    return reader_->Finish();
  }
  void Cancel() { context_.TryCancel(); }
  const grpc::ClientContext& context() const { return context_; }

  const std::vector<v1::GenerateEvent>& events() const { return events_; }
  std::string Text(uint32_t index = 0) const {
    std::string text;
    for (const auto& event : events_) {
      if (event.has_delta() && event.delta().index() == index) text += event.delta().text();
    }
    return text;
  }
  int tokens() const {
    int count = 0;
    for (const auto& event : events_) count += event.delta().tokens_size();
    return count;
  }
  std::vector<v1::Finished> Finished() const {
    std::vector<v1::Finished> finished;
    for (const auto& event : events_) {
      if (event.has_finished()) finished.push_back(event.finished());
    }
    return finished;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateEvent>> reader_;
  std::vector<v1::GenerateEvent> events_;
};

}  // namespace skipstone::server
