// What one request of a load test or a simulation experienced, on one clock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace skipstone {

struct RequestRecord {
  int part = 0;  // of the mix
  Time due{};    // when it should have started; latencies count from here
  Time first_token = kNever;
  Time last_token = kNever;
  Time ended = kNever;
  Duration longest_gap{};  // between arrivals of tokens
  int32_t prompt_tokens = 0;
  int32_t output_tokens = 0;
  bool browned_out = false;  // it started at its ceiling
  bool shed = false;         // it shed layers while it ran

  // In seconds.
  double Ttft() const { return Seconds(first_token - due); }
  double E2e() const { return Seconds(ended - due); }
  // Mean time per token after the first. Only with two tokens or more.
  double Tpot() const { return Seconds(last_token - first_token) / (output_tokens - 1); }

  // `count` tokens came at `now`. Returns how long after the ones before them.
  std::optional<Duration> AddTokens(Time now, int count) {
    std::optional<Duration> gap;
    if (output_tokens == 0) {
      first_token = now;
    } else {
      gap = now - last_token;
      longest_gap = std::max(longest_gap, *gap);
    }
    last_token = now;
    output_tokens += count;
    return gap;
  }

  friend bool operator==(const RequestRecord&, const RequestRecord&) = default;
};

}  // namespace skipstone
