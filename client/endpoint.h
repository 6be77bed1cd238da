// What the calls of one Client share. Internal to the library.
#pragma once

#include <grpcpp/channel.h>

#include <memory>

#include "client/retry.h"
#include "skipstone/v1/inference.grpc.pb.h"

namespace skipstone::client {

// Thread-safe.
struct Endpoint {
  explicit Endpoint(const std::shared_ptr<grpc::Channel>& channel)
      : channel(channel), stub(v1::Inference::NewStub(channel)) {}

  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::Inference::Stub> stub;
  RetryBudget budget;
};

}  // namespace skipstone::client
