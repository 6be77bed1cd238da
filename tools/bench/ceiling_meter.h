// Measures what this machine can do at the most with a given number of threads: the denominators of
// the benchmark's fractions. To be called between the measured runs, so that whatever else the
// machine does hits both alike.
#pragma once

#include <cstdint>

#include "engine/cpu/buffer.h"
#include "engine/cpu/thread_pool.h"
#include "tools/bench/step_cost.h"

namespace skipstone {

// Owns a buffer of eight last-level caches. One thread may call.
class CeilingMeter {
 public:
  // At most max_bytes of memory are used.
  CeilingMeter(int threads, int64_t max_bytes);

  // Each the best of several kernels. About 0.3 s.
  Ceilings Measure();

 private:
  double ReadBandwidth(int streams);
  double MultiplyAddRate();

  ThreadPool pool_;
  Buffer buffer_;
};

}  // namespace skipstone
