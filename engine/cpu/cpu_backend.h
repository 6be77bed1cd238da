// The CPU backend: f32 activations and pages, weights read where they lie (f32, f16 or bf16), f32
// accumulation. Logits are bitwise independent of batch composition, chunking and thread count:
// every product reduces its inputs in one fixed order, attention reduces keys in blocks at absolute
// multiples of a fixed size.
#pragma once

#include <memory>

#include "engine/backend/backend.h"

namespace skipstone {

struct CpuOptions {
  int threads = 1;           // >= 1, the calling thread included
  int64_t memory_bytes = 0;  // what FreeBytes reports, less what is allocated; > 0
};

// Errors: INVALID_ARGUMENT for a shape that is not served (head_dim not a multiple of 8, heads not
// a multiple of kv_heads).
absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(const ModelShape& shape,
                                                        const CpuOptions& options);

}  // namespace skipstone
