#include "client/cli/parallel_calls.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"

namespace skipstone::client {
namespace {

using std::chrono::steady_clock;

// What the threads share.
struct Calls {
  std::mutex mutex;
  std::condition_variable thread_ended;
  size_t next = 0;     // under mutex, as all below
  size_t ended = 0;    // calls
  size_t running = 0;  // threads
  absl::Status status;
};

void RunCalls(size_t count, const std::function<absl::Status(size_t)>& call, Calls& calls) {
  std::unique_lock lock(calls.mutex);
  while (calls.status.ok() && calls.next < count) {
    const size_t i = calls.next++;
    lock.unlock();
    const absl::Status status = call(i);
    lock.lock();
    ++calls.ended;
    calls.status.Update(status);
  }
  --calls.running;
  calls.thread_ended.notify_one();
}

}  // namespace

absl::Status CallInParallel(size_t count, size_t threads,
                            const std::function<absl::Status(size_t)>& call,
                            ProgressLine& progress) {
  Calls calls;
  calls.running = std::min(threads, count);
  std::vector<std::thread> workers;
  for (size_t i = std::min(threads, count); i > 0; --i) {
    workers.emplace_back([&] { RunCalls(count, call, calls); });
  }
  const auto start = steady_clock::now();
  {
    std::unique_lock lock(calls.mutex);
    while (calls.running > 0) {
      if (calls.thread_ended.wait_for(lock, progress.interval()) != std::cv_status::timeout) {
        continue;
      }
      const size_t ended = calls.ended;
      lock.unlock();
      progress.Show(absl::StrFormat(
          "%.0f s: %d of %d calls",
          std::chrono::duration<double>(steady_clock::now() - start).count(), ended, count));
      lock.lock();
    }
  }
  for (std::thread& worker : workers) worker.join();
  progress.Finish();
  return calls.status;
}

}  // namespace skipstone::client
