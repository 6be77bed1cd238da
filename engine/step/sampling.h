// Plain values that a backend needs to turn logits into tokens, beside SamplingParams. Ranges are
// checked by the caller.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/request_fields.h"

namespace skipstone {

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
  // The logits row of the step whose distribution this one's is compared with; -1: none.
  int32_t reference = -1;
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
  // KL(reference || this row) in nats, over the whole vocabulary, if the row has a reference. 0 if
  // both have the same logits.
  float kl = 0;
};

}  // namespace skipstone
