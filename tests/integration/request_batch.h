// Sends Generate requests over gRPC, alone or many at once, and compares what comes back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "skipstone/v1/inference.grpc.pb.h"

namespace skipstone {

std::unique_ptr<v1::Inference::Stub> Connect(const std::string& address);

// Fails the running test on a non-OK status.
v1::GenerateResponse Generate(v1::Inference::Stub& stub, const v1::GenerateRequest& request);

// All at once, each sent after its delay.
std::vector<v1::GenerateResponse> GenerateAll(v1::Inference::Stub& stub,
                                              const std::vector<v1::GenerateRequest>& requests,
                                              const std::vector<int>& delays_ms);

// Ids and log-probabilities of all tokens and alternatives, to the bit.
std::string Bits(const v1::GenerateResponse& response);

// `count` requests with random prompts and lengths, cycling through `specs`. Half draw, half are
// greedy; all ask for log-probabilities.
std::vector<v1::GenerateRequest> RandomRequests(int count, const std::vector<std::string>& specs,
                                                int vocab, uint32_t seed);

}  // namespace skipstone
