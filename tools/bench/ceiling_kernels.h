// The innermost loops of the measured ceilings, compiled per instruction set.
#pragma once

#include <cstdint>

namespace skipstone {

// Reads n bytes, a multiple of 4096, as `streams` (1, 2 or 4) parallel sequential streams; returns
// a sum, so that the reads happen. Thread-safe.
float ReadStreams(const void* data, int64_t n, int streams);

// Runs `iterations` rounds of independent multiply-adds of f32 vectors in registers; *flops is what
// they were (a multiply-add is two). Returns a sum. Thread-safe.
float MultiplyAdds(int64_t iterations, double* flops);

}  // namespace skipstone
