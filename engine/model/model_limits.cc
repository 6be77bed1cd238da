#include "engine/model/model_limits.h"

#include "absl/strings/str_format.h"

namespace skipstone {

absl::Status CompleteShape(const std::string& name, ModelShape* shape) {
  const auto fail = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: %s", name, why));
  };
  if (shape->head_dim == 0) {
    if (shape->hidden % shape->heads != 0) {
      return fail(absl::StrFormat("hidden_size %d is not divisible by num_attention_heads %d",
                                  shape->hidden, shape->heads));
    }
    shape->head_dim = shape->hidden / shape->heads;
  }
  if (shape->heads % shape->kv_heads != 0) {
    return fail(absl::StrFormat("num_attention_heads %d is not divisible by num_key_value_heads %d",
                                shape->heads, shape->kv_heads));
  }
  // Attention works on whole vectors of 8, RoPE on pairs.
  if (shape->head_dim % 8 != 0 || shape->head_dim > kMaxServedHeadDim) {
    return fail(absl::StrFormat(
        "head_dim %d is not a multiple of 8 up to %d; unless given it is hidden_size %d / "
        "num_attention_heads %d",
        shape->head_dim, kMaxServedHeadDim, shape->hidden, shape->heads));
  }
  return absl::OkStatus();
}

}  // namespace skipstone
