// A CUDA device of the host's own, for tests: the kernels' sources, compiled by the host compiler,
// run thread by thread. Wrong results, missing barriers and overruns show without a GPU; timing,
// memory order between blocks and what only hardware does wrong do not.
//
// Every thread of a block is a fiber; blocks run one after another and a block's fibers in a random
// order from barrier to barrier. Streams do their work as late as they may: when the host waits. A
// collective operation that not all lanes reach, a barrier that is never completed and a touch
// behind an allocation abort. One host thread.
#pragma once

#include <cstdint>
#include <functional>

namespace skipstone::emulator {

// For tests of failures.
void SetDevices(int devices);
// The next wait of the host reports this error (a cudaError_t).
void FailNextWait(int error);
// Bytes that cudaMalloc still gives; what it gave already does not count.
void SetFreeBytes(int64_t bytes);
// Moves the device's clock, which runs with the host's, forward: work that calls it seems to take
// that long.
void SkipSeconds(double seconds);

// The matrix library offers algorithms 0, 1, ... in this order; algorithm i sums i + 1 parts of the
// inputs, whose sums pass through the workspace.
inline constexpr int kMatmulAlgorithms = 3;
struct MatmulAlgorithm {
  double seconds = 0;       // that a product takes, in addition, by the device's clock
  int row_multiple = 1;     // of the rows that it computes
  int most_rows = 1 << 30;  // that run; the check does not tell
};
// As long as no test says otherwise, algorithm 1 is the fastest by a second.
void SetMatmulAlgorithm(int algorithm, const MatmulAlgorithm& is);

// Calls of the matrix library since the last time, and which algorithm the last product took.
struct MatmulCalls {
  int heuristics = 0;
  int checks = 0;
  int products = 0;
  int last_algorithm = -1;
};
MatmulCalls TakeMatmulCalls();

// ---- what the stand-ins of CUDA's headers use ----

// Runs `body` for every thread of a block. Returns when all have.
void RunBlock(int threads, const std::function<void()>& body);

void SyncThreads();

// The lanes of a warp put `bytes` (at most kExchangeBytes) each; afterwards the result points to
// what all 32 put, valid until the warp's next exchange but one.
inline constexpr int kExchangeBytes = 32;
struct ExchangeSlot {
  alignas(8) unsigned char bytes[kExchangeBytes];
};
const ExchangeSlot* Exchange(const void* value, int bytes);

// Background copies of the running thread.
void CopyAsync(void* to, const void* from, bool valid);
void CommitCopies();
void WaitForCopies(int pending);

}  // namespace skipstone::emulator
