// The threads that read requests. Whatever costs in proportion to a request (parsing, tokenising)
// runs here, and never on gRPC's threads, which all calls and the health check share.
//
// Small requests wait apart from large ones and in turn with them, and of several threads one is
// always left to the small ones, so that nobody's large requests hold up the others.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"

namespace skipstone::server {

// Thread-safe.
class ValidationPool {
 public:
  struct Options {
    int threads = 2;
    // What may wait of the small requests, and again of the large ones.
    size_t max_waiting_bytes = size_t{32} << 20;
    size_t max_waiting_calls = 4096;
  };
  // Larger requests are large: most prompts are not, and the dearest text of this size takes some
  // 20 ms.
  static constexpr size_t kLargeBytes = size_t{16} << 10;
  // No request is larger: gRPC's own default. Documented in inference.proto.
  static constexpr size_t kMaxRequestBytes = size_t{4} << 20;

  using Work = std::function<void(const absl::Status& status)>;
  using Ticket = uint64_t;

  explicit ValidationPool(const Options& options);
  // Does what still waits.
  ~ValidationPool();
  ValidationPool(const ValidationPool&) = delete;
  ValidationPool& operator=(const ValidationPool&) = delete;

  // Calls `work` exactly once: with OK, on a thread of the pool; with RESOURCE_EXHAUSTED, before
  // this returns, if the request is too large or too much waits; or as Withdraw says.
  Ticket Add(size_t request_bytes, Work work) ABSL_LOCKS_EXCLUDED(mutex_);
  // If it still waits, its work is called with `status` before this returns.
  void Withdraw(Ticket ticket, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Job {
    size_t bytes = 0;
    Work work;
  };
  struct Lane {
    std::map<Ticket, Job> jobs;  // in the order of their arrival
    size_t bytes = 0;
  };

  void Run();
  absl::Status Enter(Lane& lane, Ticket ticket, Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static Job Leave(Lane& lane, std::map<Ticket, Job>::iterator job);
  // The lane whose turn it is; null if there is nothing that this thread may do.
  Lane* Pick() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  Mutex mutex_;
  CondVar changed_;
  Lane small_ ABSL_GUARDED_BY(mutex_);
  Lane large_ ABSL_GUARDED_BY(mutex_);
  Ticket next_ ABSL_GUARDED_BY(mutex_) = 1;
  int large_running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool large_was_last_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace skipstone::server
