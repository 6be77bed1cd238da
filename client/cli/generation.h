// Collects what a GenerateStream call answers, with the client's own clock beside it.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "skipstone/v1/inference.pb.h"

namespace skipstone::client {

// One output of the request. Times are of this machine and include the network.
struct GeneratedOutput {
  std::string text;
  std::vector<v1::Token> tokens;
  std::vector<v1::Token> prompt_tokens;
  std::optional<v1::Finished> finished;  // unset: the stream broke before
  std::optional<std::chrono::steady_clock::time_point> first_delta;
  std::optional<std::chrono::steady_clock::time_point> last_delta;

  // Tokens after the first per second between the first and the last delta; NaN below two tokens.
  double TokensPerSecond() const;
};

// One request. One thread.
class Generation {
 public:
  explicit Generation(std::chrono::steady_clock::time_point sent) : sent_(sent) {}

  void Add(const v1::GenerateEvent& event, std::chrono::steady_clock::time_point now);

  const v1::Accepted& accepted() const { return accepted_; }
  const std::map<uint32_t, GeneratedOutput>& outputs() const { return outputs_; }

  // Sent to first delta, in milliseconds; NaN if there was none.
  double TtftMs(const GeneratedOutput& output) const;
  // Of a finished output: "32 tokens, 118.2 tokens/s, TTFT 21.4 ms, KV pages 24 used + 12 omitted,
  // skip ..., MAX_TOKENS", and what the load changed of the skip.
  std::string SummaryLine(const GeneratedOutput& output) const;
  // The fields of Accepted, then "outputs": index, text, tokens and prompt_tokens if any, ttft_ms,
  // tokens_per_s, and those of Finished once there.
  nlohmann::ordered_json ToJson() const;

 private:
  const std::chrono::steady_clock::time_point sent_;
  v1::Accepted accepted_;
  std::map<uint32_t, GeneratedOutput> outputs_;  // by index
};

}  // namespace skipstone::client
