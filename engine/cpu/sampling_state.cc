#include "engine/cpu/sampling_state.h"

#include <limits>

namespace skipstone {

SamplingState::SamplingState(const SlotStart& start)
    : output_index_(start.output_index), output_tokens_(std::ssize(start.output)) {
  if (start.sampling != nullptr) params_ = *start.sampling;
  if (!start.output.empty()) last_token_ = start.output.back();
  if (!params_.HasPenalties()) return;
  for (const int32_t token : start.prompt) counts_[token].in_prompt = true;
  for (const int32_t token : start.output) ++counts_[token].in_output;
}

void SamplingState::Append(int32_t token) {
  last_token_ = token;
  ++output_tokens_;
  if (params_.HasPenalties()) ++counts_[token].in_output;
}

bool SamplingState::Adjusts() const {
  return !params_.logit_bias.empty() || Suppresses() || params_.HasPenalties();
}

void SamplingState::Adjust(float* logits) const {
  for (const auto& [id, bias] : params_.logit_bias) logits[id] += bias;
  if (Suppresses()) {
    for (const int32_t id : params_.suppressed_ids) {
      logits[id] = -std::numeric_limits<float>::infinity();
    }
  }
  for (const auto& [id, count] : counts_) {
    float& logit = logits[id];
    logit = logit > 0 ? logit / params_.repetition_penalty : logit * params_.repetition_penalty;
    if (count.in_output == 0) continue;
    logit -= params_.presence_penalty;
    logit -= params_.frequency_penalty * static_cast<float>(count.in_output);
  }
}

}  // namespace skipstone
