// Holds a thread at a known place until a test lets it go on.
#pragma once

#include "engine/base/mutex.h"

namespace skipstone {

// Thread-safe. Open at first.
class Gate {
 public:
  void Close() {
    MutexLock lock(mutex_);
    open_ = false;
  }
  void Open() {
    MutexLock lock(mutex_);
    open_ = true;
    changed_.NotifyAll();
  }
  // Called by the thread that is to be held.
  void Pass() {
    MutexLock lock(mutex_);
    ++arrived_;
    ++held_;
    changed_.NotifyAll();
    while (!open_) changed_.Wait(mutex_);
    --held_;
  }
  // Closes it and waits until a thread is held.
  void CloseAndWait() {
    MutexLock lock(mutex_);
    open_ = false;
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
  Mutex mutex_;
  CondVar changed_;
  bool open_ = true;
  int arrived_ = 0;
  int held_ = 0;
};

}  // namespace skipstone
