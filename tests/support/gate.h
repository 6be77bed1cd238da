// Holds a thread at a known place until a test lets it go on.
#pragma once

#include <limits>

#include "base/mutex.h"

namespace skipstone {

// Thread-safe. Open at first.
class Gate {
 public:
  void Close() { CloseFrom(0); }
  // Lets the first arrivals pass and holds number `arrival`, counted from 1, and those behind it.
  // Set before a thread starts, it holds that thread at the same place each time.
  void CloseFrom(int arrival) {
    MutexLock lock(mutex_);
    first_held_ = arrival;
    changed_.NotifyAll();
  }
  void Open() {
    MutexLock lock(mutex_);
    first_held_ = kNone;
    changed_.NotifyAll();
  }
  // Called by the thread that is to be held.
  void Pass() {
    MutexLock lock(mutex_);
    const int arrival = ++arrived_;
    ++held_;
    changed_.NotifyAll();
    while (arrival >= first_held_) changed_.Wait(mutex_);
    --held_;
  }
  // Closes it and waits until a thread is held.
  void CloseAndWait() {
    MutexLock lock(mutex_);
    first_held_ = 0;
    while (held_ == 0) changed_.Wait(mutex_);
  }
  // Waits until a thread has come to Pass `times` times in all.
  void WaitArrivals(int times) {
    MutexLock lock(mutex_);
    while (arrived_ < times) changed_.Wait(mutex_);
  }
  int arrivals() {
    MutexLock lock(mutex_);
    return arrived_;
  }

 private:
  static constexpr int kNone = std::numeric_limits<int>::max();

  Mutex mutex_;
  CondVar changed_;
  int first_held_ = kNone;
  int arrived_ = 0;
  int held_ = 0;
};

}  // namespace skipstone
