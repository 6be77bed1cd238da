// Turns one row of logits into a token and log-probabilities (SEMANTICS "Sampling"). Pure functions
// of their arguments; any thread may call.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cpu/sampling_state.h"
#include "engine/step/sampling.h"

namespace skipstone {

// The n likeliest ids with their logits, ties to the lowest id. n may exceed the vocabulary.
std::vector<TokenLogprob> TopLogits(std::span<const float> logits, int n);

// Draws a token from finite logits, the largest of which is `max`. `position` is that of the row's
// input token. `scratch` holds twice as many floats as `logits`, whose values are kept.
//
// The kept set: the top_k largest logits (ties to the lowest id); of these, likeliest first, the
// shortest prefix whose probability is at least top_p; of these, all with at least min_p of the
// likeliest's probability. The draw inverts the cumulative distribution of the kept set in
// ascending order of ids.
int32_t SampleToken(std::span<const float> logits, float max, const SamplingState& state,
                    int32_t position, std::span<float> scratch);

// What `row` wants of its logits, or that they are not all finite. Changes no state.
LogitsResult ReduceLogits(std::span<const float> logits, const LogitsRow& row,
                          const SamplingState& state, std::span<float> scratch);

}  // namespace skipstone
