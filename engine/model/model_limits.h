// The largest model this engine describes, and what every shape must fulfil.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

// None below Llama 2 70B's; small enough that heads * head_dim fits int and that rows * cols *
// element size of any matrix fits int64_t.
inline constexpr int kMaxServedLayers = kMaxLayers;  // the width of a skip set
inline constexpr int kMaxServedHidden = 1 << 15;
inline constexpr int kMaxServedHeads = 256;
inline constexpr int kMaxServedHeadDim = 1024;
inline constexpr int kMaxServedFfn = 1 << 17;
inline constexpr int kMaxServedVocab = 1 << 20;
inline constexpr int kMaxServedContext = 1 << 22;

// Fills in head_dim where it is 0 and checks what the fields must fulfil together; each is within
// its limit already. INVALID_ARGUMENT names the fields as config.json does, after `name`.
absl::Status CompleteShape(const std::string& name, ModelShape* shape);

}  // namespace skipstone
