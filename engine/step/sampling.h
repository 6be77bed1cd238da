// Plain values that a backend needs to turn logits into tokens. Ranges are checked by the caller.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace skipstone {

// Applied in this order: logit bias, suppression, penalties, temperature, top-k, top-p, min-p,
// draw (SEMANTICS "Sampling"). The defaults change nothing.
struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy, ties to the lowest id
  int top_k = 0;             // 0: all
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;  // over prompt and output
  float presence_penalty = 0.0f;    // over the output
  float frequency_penalty = 0.0f;   // over the output
  uint64_t seed = 0;
  std::vector<std::pair<int32_t, float>> logit_bias;
  // No id of suppressed_ids is drawn before the output holds min_tokens tokens.
  int min_tokens = 0;
  std::vector<int32_t> suppressed_ids;

  bool HasPenalties() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
};

// A sequence takes (or takes back, after a preemption) its slot: the backend's sampling state for
// the slot is made anew from these.
struct SlotStart {
  int32_t slot = 0;
  int32_t output_index = 0;  // which of the request's n outputs
  const SamplingParams* sampling = nullptr;
  std::span<const int32_t> prompt;
  std::span<const int32_t> output;
};

// What is wanted of one row of logits.
struct LogitsRow {
  int32_t slot = 0;
  int32_t position = 0;  // of the input token
  bool sample = false;
  int32_t target = -1;  // token whose log-probability is wanted; -1: none
  int32_t top_n = -1;   // alternatives wanted; -1: no log-probability at all
};

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;  // natural log of the softmax of the raw logits
};

struct LogitsResult {
  // False: a logit is NaN or infinite, and the rest says nothing but that sampled.id is an id.
  bool finite = true;
  TokenLogprob sampled{-1, 0};    // if the row samples; logprob valid if top_n >= 0
  TokenLogprob target{-1, 0};     // if the row has a target
  std::vector<TokenLogprob> top;  // likeliest first, ties to the lowest id
};

}  // namespace skipstone
