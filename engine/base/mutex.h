// std::mutex with Clang's thread-safety annotations. The distribution's absl::Mutex is not built
// for ThreadSanitizer and reports races that do not exist.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define SKIPSTONE_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define SKIPSTONE_THREAD_ATTRIBUTE(x)
#endif
#define GUARDED_BY(x) SKIPSTONE_THREAD_ATTRIBUTE(guarded_by(x))
#define REQUIRES(...) SKIPSTONE_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) SKIPSTONE_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))

namespace skipstone {

class SKIPSTONE_THREAD_ATTRIBUTE(capability("mutex")) Mutex {
 public:
  void Lock() SKIPSTONE_THREAD_ATTRIBUTE(acquire_capability()) { mutex_.lock(); }
  void Unlock() SKIPSTONE_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class SKIPSTONE_THREAD_ATTRIBUTE(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) SKIPSTONE_THREAD_ATTRIBUTE(acquire_capability(mutex))
      : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() SKIPSTONE_THREAD_ATTRIBUTE(release_capability()) { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// A condition variable for Mutex. Waits may wake without cause: call them in a loop.
class CondVar {
 public:
  void Wait(Mutex& mutex) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  // Returns false if `deadline` passed.
  bool WaitUntil(Mutex& mutex, std::chrono::steady_clock::time_point deadline) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const bool woken = cv_.wait_until(lock, deadline) == std::cv_status::no_timeout;
    lock.release();
    return woken;
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace skipstone
