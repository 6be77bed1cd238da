// Runs the tasks of one loop on threads of its own, for work of a second rather than of a step
// (engine/cpu/thread_pool.h).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace skipstone {

// Calls task(i) once for each i in [0, tasks), in any order, on up to `threads` threads, the
// caller's among them. Returns when all calls have returned; their effects are visible then.
inline void ParallelFor(int threads, int64_t tasks, absl::FunctionRef<void(int64_t)> task) {
  std::atomic<int64_t> next = 0;
  const auto work = [&] {
    for (int64_t i = next++; i < tasks; i = next++) task(i);
  };
  std::vector<std::thread> helpers;
  for (int64_t i = 1; i < std::min<int64_t>(threads, tasks); ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
}

// Calls part(first, count) for blocks of up to `block` of the items [0, items), in the same way:
// the blocks do not depend on the threads.
inline void ParallelForBlocks(int threads, int64_t items, int64_t block,
                              absl::FunctionRef<void(int64_t first, int64_t count)> part) {
  ParallelFor(threads, (items + block - 1) / block,
              [&](int64_t i) { part(i * block, std::min(block, items - i * block)); });
}

}  // namespace skipstone
