#include "tests/integration/request_batch.h"

#include <grpcpp/grpcpp.h>

#include <bit>
#include <chrono>
#include <random>
#include <thread>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"

namespace skipstone {

std::unique_ptr<v1::Inference::Stub> Connect(const std::string& address) {
  return v1::Inference::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
}

v1::GenerateResponse Generate(v1::Inference::Stub& stub, const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = stub.Generate(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_code() << ": " << status.error_message();
  return response;
}

std::vector<v1::GenerateResponse> GenerateAll(v1::Inference::Stub& stub,
                                              const std::vector<v1::GenerateRequest>& requests,
                                              const std::vector<int>& delays_ms) {
  std::vector<v1::GenerateResponse> responses(requests.size());
  std::vector<std::thread> threads;
  const auto start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < requests.size(); ++i) {
    threads.emplace_back([&, i] {
      std::this_thread::sleep_until(start + std::chrono::milliseconds(delays_ms[i]));
      responses[i] = Generate(stub, requests[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return responses;
}

std::string Bits(const v1::GenerateResponse& response) {
  std::string bits;
  for (const v1::GenerateOutput& output : response.outputs()) {
    for (const v1::Token& token : output.delta().tokens()) {
      bits += absl::StrFormat("%d:%08x", token.id(), std::bit_cast<uint32_t>(token.logprob()));
      for (const v1::TopToken& top : token.top()) {
        bits += absl::StrFormat(",%d:%08x", top.id(), std::bit_cast<uint32_t>(top.logprob()));
      }
      bits += ' ';
    }
  }
  return bits;
}

std::vector<v1::GenerateRequest> RandomRequests(int count, const std::vector<std::string>& specs,
                                                int vocab, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<v1::GenerateRequest> requests(count);
  for (int i = 0; i < count; ++i) {
    v1::GenerateRequest& request = requests[i];
    request.mutable_skip()->set_spec(specs[i % specs.size()]);
    const int prompt = 1 + random() % 60;
    for (int t = 0; t < prompt; ++t) {
      request.mutable_token_ids()->add_ids(3 + random() % (vocab - 3));
    }
    request.mutable_stopping()->set_max_tokens(20 + random() % 60);
    request.mutable_stopping()->set_ignore_eos(true);
    request.mutable_output()->set_logprobs(2);
    request.mutable_sampling()->set_temperature(i % 2 == 0 ? 0.0f : 0.8f);
    request.mutable_sampling()->set_top_p(0.9f);
    request.mutable_sampling()->set_seed(random());
  }
  return requests;
}

}  // namespace skipstone
