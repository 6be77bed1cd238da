#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace skipstone::cuda {

inline constexpr int kReadStreamWarps = 8;  // of a block

// sums[block][warp] = the sum, modulo 2^32, of the 32-bit words that the warp reads. All sums
// together are that of the buffer.
struct ReadStreamArgs {
  const void* from;  // on a multiple of 16 bytes
  int64_t bytes;     // a multiple of 16
  uint32_t* sums;    // [blocks][kReadStreamWarps]
  int64_t BytesMoved() const { return bytes; }
};
// Blocks that a multiprocessor holds at once. Together they have 128 KiB in flight.
constexpr int ReadStreamResident(int loads) { return 32 / loads; }
// `loads` of 16 bytes are in flight in each thread: 4, 8 or 16.
cudaError_t LaunchReadStream(const ReadStreamArgs& args, int loads, int blocks,
                             cudaStream_t stream);

}  // namespace skipstone::cuda
