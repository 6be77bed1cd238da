#include "engine/cpu/thread_pool.h"

#include <chrono>

#include "base/check.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace skipstone {
namespace {

// Stages of one step follow each other within microseconds, steps within a few hundred; a sleeping
// worker costs the caller a system call and tens of microseconds.
constexpr std::chrono::microseconds kSpin{200};

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  SKIPSTONE_CHECK(num_threads >= 1);
  workers_.reserve(num_threads - 1);
  for (int i = 1; i < num_threads; ++i) workers_.emplace_back([this, i] { WorkerLoop(i); });
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  generation_.fetch_add(1);
  {
    MutexLock lock(mutex_);
    wake_.NotifyAll();
  }
  for (std::thread& worker : workers_) worker.join();
}

// A worker enters a loop by raising active_ and then looking at open_; the caller leaves it by
// clearing open_ and then waiting for active_ == 0. Both orders are sequentially consistent, so
// either the worker sees the loop closed or the caller sees the worker. A worker that wakes late
// therefore costs nothing.
void ThreadPool::ParallelFor(int64_t num_tasks, ParallelTask fn) {
  if (num_tasks <= 0) return;
  if (workers_.empty() || num_tasks == 1) {
    for (int64_t i = 0; i < num_tasks; ++i) fn(i, 0);
    return;
  }
  fn_ = &fn;
  num_tasks_ = num_tasks;
  next_task_.store(0);
  open_.store(true);
  generation_.fetch_add(1);
  if (sleeping_.load() > 0) {
    MutexLock lock(mutex_);
    wake_.NotifyAll();
  }
  RunTasks(fn, num_tasks, 0);
  open_.store(false);
  for (int spins = 0; active_.load() != 0; ++spins) {
    // The workers' last tasks are short, unless the machine runs something else in their place.
    if (spins < 2000) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::RunTasks(ParallelTask fn, int64_t num_tasks, int thread) {
  for (;;) {
    const int64_t task = next_task_.fetch_add(1, std::memory_order_relaxed);
    if (task >= num_tasks) return;
    fn(task, thread);
  }
}

void ThreadPool::AwaitGeneration(uint64_t seen) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (generation_.load() != seen) return;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  MutexLock lock(mutex_);
  sleeping_.fetch_add(1);
  while (generation_.load() == seen) wake_.Wait(mutex_);
  sleeping_.fetch_sub(1);
}

void ThreadPool::WorkerLoop(int thread) {
  uint64_t seen = 0;
  for (;;) {
    AwaitGeneration(seen);
    seen = generation_.load();
    if (stopping_.load()) return;
    active_.fetch_add(1);
    if (open_.load()) RunTasks(*fn_, num_tasks_, thread);
    active_.fetch_sub(1);
  }
}

}  // namespace skipstone
