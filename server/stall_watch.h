// Finds streams whose reader takes nothing: a write that has been under way for too long.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/mutex.h"

namespace skipstone::server {

// Thread-safe.
class StallWatch {
 public:
  // One stream. Shared by the stream and the watch, because either may end first.
  class Stream {
   public:
    explicit Stream(std::string request_id) : request_id_(std::move(request_id)) {}
    void WriteStarted() { since_ = SystemClock().Now().time_since_epoch().count(); }
    void WriteDone() { since_ = 0; }

   private:
    friend class StallWatch;
    const std::string request_id_;
    std::atomic<Duration::rep> since_{0};  // 0: no write is under way
    bool reported_ = false;                // the watch thread's
  };

  // `on_stall` is called on the watch's thread, once per stream. A timeout of 0 watches nothing.
  StallWatch(Duration timeout, std::function<void(const std::string& request_id)> on_stall);
  ~StallWatch();
  StallWatch(const StallWatch&) = delete;
  StallWatch& operator=(const StallWatch&) = delete;

  std::shared_ptr<Stream> Add(std::string request_id) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();
  // The streams that stall, each reported once.
  std::vector<std::shared_ptr<Stream>> Scan() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Duration timeout_;
  const std::function<void(const std::string&)> on_stall_;
  Mutex mutex_;
  CondVar stopping_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::weak_ptr<Stream>> streams_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace skipstone::server
