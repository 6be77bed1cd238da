// What one request of a benchmark experienced, on this machine's clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace skipstone::client {

using SteadyTime = std::chrono::steady_clock::time_point;

struct RequestRecord {
  size_t part = 0;       // of the mix
  SteadyTime scheduled;  // when it should have started; latencies count from here
  SteadyTime started;    // when it did
  SteadyTime first_token;
  SteadyTime last_token;
  SteadyTime ended;
  absl::Status status;
  uint32_t prompt_tokens = 0;
  uint32_t output_tokens = 0;
  uint64_t kv_pages_used = 0;
  uint64_t kv_pages_omitted = 0;
  bool browned_out = false;    // it started at its ceiling
  bool shed = false;           // it shed layers while it ran
  std::vector<float> gaps_ms;  // between messages that brought tokens

  bool ok() const { return status.ok() && output_tokens > 0; }
  double LagMs() const { return Ms(started - scheduled); }
  double TtftMs() const { return Ms(first_token - scheduled); }
  double E2eMs() const { return Ms(ended - scheduled); }
  // Mean time per token after the first. Only with two tokens or more.
  double TpotMs() const { return Ms(last_token - first_token) / (output_tokens - 1); }

 private:
  static double Ms(std::chrono::steady_clock::duration d) {
    return std::chrono::duration<double, std::milli>(d).count();
  }
};

}  // namespace skipstone::client
