// A fixed set of threads that run the tasks of one loop at a time. Workers spin for a short while
// between loops and then sleep, so an idle process uses no CPU.
//
//   ThreadPool pool(8);
//   pool.ParallelFor(tasks, [&](int64_t task, int thread) { ... });
//
// One thread, always the same, may call ParallelFor; it takes part as thread 0.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/mutex.h"

namespace skipstone {

using ParallelTask = absl::FunctionRef<void(int64_t task, int thread)>;

class ThreadPool {
 public:
  // num_threads >= 1, the caller of ParallelFor included.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls fn(task, thread) once for each task in [0, num_tasks), in any order, with
  // 0 <= thread < num_threads() and no two calls of one thread index at a time. Returns when all
  // calls have returned; their effects are visible then.
  void ParallelFor(int64_t num_tasks, ParallelTask fn);

 private:
  void WorkerLoop(int thread);
  // Returns when generation_ differs from `seen`: spins, then sleeps.
  void AwaitGeneration(uint64_t seen);
  void RunTasks(ParallelTask fn, int64_t num_tasks, int thread);

  // The loop that is open. Written by the caller only while active_ == 0 and !open_.
  const ParallelTask* fn_ = nullptr;
  int64_t num_tasks_ = 0;

  // On lines of their own: each is written by one side and polled by the other.
  alignas(64) std::atomic<int64_t> next_task_{0};
  alignas(64) std::atomic<bool> open_{false};
  alignas(64) std::atomic<int> active_{0};  // workers inside a loop
  alignas(64) std::atomic<uint64_t> generation_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stopping_{false};

  Mutex mutex_;  // orders going to sleep against waking; guards no data
  CondVar wake_;
  std::vector<std::thread> workers_;
};

}  // namespace skipstone
