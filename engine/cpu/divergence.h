// How far two distributions over the vocabulary are apart. Thread-safe.
#pragma once

#include <span>

namespace skipstone {

// KL(softmax(p) || softmax(q)) in nats, of raw logits of equal length >= 1: sum of softmax(p) *
// (p - q), less the difference of their log-sum-exps. Exactly 0 where p equals q; never negative.
// Not a number where a logit is not finite.
float KlDivergence(std::span<const float> p, std::span<const float> q);

}  // namespace skipstone
