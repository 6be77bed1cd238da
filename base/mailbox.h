// An unbounded queue with many writers and one reader that takes all there is.
#pragma once

#include <iterator>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace skipstone {

// Thread-safe.
template <typename T>
class Mailbox {
 public:
  void Push(T item) ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      MutexLock lock(mutex_);
      items_.push_back(std::move(item));
    }
    filled_.NotifyOne();
  }

  // Appends all items in order; leaves `items` empty.
  void PushAll(std::vector<T>& items) ABSL_LOCKS_EXCLUDED(mutex_) {
    if (items.empty()) return;
    {
      MutexLock lock(mutex_);
      items_.insert(items_.end(), std::make_move_iterator(items.begin()),
                    std::make_move_iterator(items.end()));
    }
    items.clear();
    filled_.NotifyOne();
  }

  // After this, Take no longer waits.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      MutexLock lock(mutex_);
      closed_ = true;
    }
    filled_.NotifyAll();
  }

  // Moves all items to `items`. With `wait`, waits for at least one. False: closed and empty.
  bool Take(std::vector<T>& items, bool wait) ABSL_LOCKS_EXCLUDED(mutex_) {
    items.clear();
    MutexLock lock(mutex_);
    while (wait && items_.empty() && !closed_) filled_.Wait(mutex_);
    items.swap(items_);
    return !items.empty() || !closed_;
  }

 private:
  Mutex mutex_;
  CondVar filled_;
  std::vector<T> items_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace skipstone
