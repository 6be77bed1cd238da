// Finds streams whose reader takes nothing: a write that has been under way for too long.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace skipstone::server {

// Thread-safe.
class StallWatch {
 public:
  // One stream. Shared by the stream and the watch, because either may end first.
  class Stream {
   public:
    explicit Stream(std::function<void()> on_stall) : on_stall_(std::move(on_stall)) {}
    void WriteStarted() { since_ = SystemClock().Now().time_since_epoch().count(); }
    void WriteDone() { since_ = 0; }
    // Waits for a call of on_stall that is under way, unless that calls this; none comes later.
    void End() ABSL_LOCKS_EXCLUDED(mutex_);

   private:
    friend class StallWatch;
    void Report() ABSL_LOCKS_EXCLUDED(mutex_);

    Mutex mutex_;
    CondVar reported_to_;
    std::function<void()> on_stall_ ABSL_GUARDED_BY(mutex_);
    std::optional<std::thread::id> reporter_ ABSL_GUARDED_BY(mutex_);  // while on_stall runs
    std::atomic<Duration::rep> since_{0};                              // 0: no write is under way
    bool reported_ = false;                                            // the watch thread's
  };

  // A timeout of 0 watches nothing.
  explicit StallWatch(Duration timeout);
  ~StallWatch();
  StallWatch(const StallWatch&) = delete;
  StallWatch& operator=(const StallWatch&) = delete;

  // `on_stall` is called on the watch's thread, at most once.
  std::shared_ptr<Stream> Add(std::function<void()> on_stall) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();
  // The streams that stall, each reported once.
  std::vector<std::shared_ptr<Stream>> Scan() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Duration timeout_;
  Mutex mutex_;
  CondVar stopping_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::weak_ptr<Stream>> streams_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace skipstone::server
