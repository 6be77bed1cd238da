// Measures what this machine can do at the most with a given number of threads: the denominators of
// the benchmark's fractions. To be called between the measured runs, so that whatever else the
// machine does hits both alike.
#pragma once

#include <cstdint>

#include "engine/cpu/buffer.h"
#include "engine/cpu/thread_pool.h"
#include "tools/bench/step_cost.h"

namespace skipstone {

// Bytes of the largest cache, from the system; 32 MiB where it does not say.
int64_t LastLevelCacheBytes();

// Owns a buffer of eight last-level caches. One thread may call.
class CeilingMeter {
 public:
  // At most max_bytes of memory are used.
  CeilingMeter(int threads, int64_t max_bytes);

  // Each the best of several kernels. About 0.3 s.
  Ceilings Measure();
  int64_t buffer_bytes() const { return buffer_.bytes(); }

 private:
  double ReadBandwidth(int streams);
  double MultiplyAddRate();

  ThreadPool pool_;
  Buffer buffer_;
};

}  // namespace skipstone
