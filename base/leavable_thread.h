// A thread that its owner can stop waiting for, where what it calls may never return. The function
// must then own what it uses.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/mutex.h"

namespace skipstone {

class LeavableThread {
 public:
  // `name`, up to 15 characters, is what `top -H` shows.
  LeavableThread(std::string name, std::function<void()> run);
  LeavableThread(LeavableThread&&) = default;

  // Waits until it has ended, up to `deadline`; returns whether it has.
  bool WaitUntil(Time deadline);
  // Ends the ownership: one that has not ended goes on by itself.
  void Leave();

 private:
  struct State {
    Mutex mutex;
    CondVar changed;
    bool ended ABSL_GUARDED_BY(mutex) = false;
  };

  std::shared_ptr<State> state_;  // with the thread, which may outlive its owner
  std::thread thread_;
};

}  // namespace skipstone
