// What was served, scored once more beside the full model: how far the level was from it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/quality/measures.h"
#include "engine/schedule/shadow_queue.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

struct ShadowRequest {
  std::vector<int32_t> tokens;  // the prompt and what was generated, of one output
  int prompt_tokens = 0;        // 1 to tokens.size() - 1
  SkipSet skip;                 // in force for all of the output
  std::string cache_salt;       // as the request's
};

struct ShadowResult {
  // Of each generated token, in order: under the level, teacher-forced, against the full model.
  std::vector<quality::TokenOutcome> tokens;
  double full_nll = 0;  // of them all under the full model, nats
};
ShadowResult ResultOf(const ShadowRows& rows);

// Nothing: it was dropped under load, did not fit, or met logits that are not finite. Called once
// on the step thread, so it must not block; not at all if the device hangs at the end.
using OnShadow = std::function<void(const std::optional<ShadowResult>&)>;

}  // namespace skipstone
