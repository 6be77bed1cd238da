// Calls this server's own health service through its TCP port, as a client would: a port that no
// longer answers is found whatever the cause.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "server/unique_fd.h"

namespace skipstone::server {

struct SelfCheckOptions {
  std::chrono::milliseconds interval = std::chrono::seconds(2);
  // Longer than any load should keep a health check waiting.
  std::chrono::milliseconds deadline = std::chrono::seconds(5);
  int failures = 3;  // in a row, until the port counts as lost
};

// A thread from construction to destruction. Thread-safe.
class SelfCheck {
 public:
  // `connect` opens a connection to the port, from the thread of this.
  explicit SelfCheck(std::function<absl::StatusOr<UniqueFd>()> connect,
                     SelfCheckOptions options = {});
  ~SelfCheck();
  SelfCheck(const SelfCheck&) = delete;
  SelfCheck& operator=(const SelfCheck&) = delete;

  // INTERNAL once the port is lost.
  absl::Status status() const;

 private:
  void Run();
  // Returns false once it is to end.
  bool Rest() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Call();

  const std::function<absl::StatusOr<UniqueFd>()> connect_;
  const SelfCheckOptions options_;
  std::atomic<bool> lost_{false};
  Mutex mutex_;
  CondVar stopped_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace skipstone::server
