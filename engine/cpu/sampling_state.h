// What sampling remembers of one sequence: its parameters, its last token and how often each token
// occurred. Made anew when a sequence takes its slot.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "engine/step/sampling.h"

namespace skipstone {

// One thread at a time.
class SamplingState {
 public:
  SamplingState() = default;
  // Copies what it needs of `start`. Without parameters the defaults hold.
  explicit SamplingState(const SlotStart& start);

  // `token` was sampled.
  void Append(int32_t token);

  const SamplingParams& params() const { return params_; }
  int32_t output_index() const { return output_index_; }
  int32_t last_token() const { return last_token_; }
  int64_t output_tokens() const { return output_tokens_; }

  // Adds the bias, suppresses ids while the output is short, applies the penalties.
  void Adjust(float* logits) const;
  // True if Adjust would change something.
  bool Adjusts() const;

 private:
  struct Count {
    bool in_prompt = false;
    int32_t in_output = 0;
  };
  bool Suppresses() const {
    return output_tokens_ < params_.min_tokens && !params_.suppressed_ids.empty();
  }

  SamplingParams params_;
  int32_t output_index_ = 0;
  int32_t last_token_ = -1;
  int64_t output_tokens_ = 0;
  std::unordered_map<int32_t, Count> counts_;  // empty without penalties
};

}  // namespace skipstone
