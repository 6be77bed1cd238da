#include "base/leavable_thread.h"

#include <pthread.h>

#include <utility>

namespace skipstone {

LeavableThread::LeavableThread(std::string name, std::function<void()> run)
    : state_(std::make_shared<State>()) {
  thread_ = std::thread([state = state_, name = std::move(name), run = std::move(run)]() mutable {
    pthread_setname_np(pthread_self(), name.c_str());
    run();
    run = nullptr;  // lets go of what it owns before its end is told
    MutexLock lock(state->mutex);
    state->ended = true;
    state->changed.NotifyAll();
  });
}

bool LeavableThread::WaitUntil(Time deadline) {
  MutexLock lock(state_->mutex);
  while (!state_->ended && state_->changed.WaitUntil(state_->mutex, deadline)) {
  }
  return state_->ended;
}

void LeavableThread::Leave() { WaitUntil(Time::min()) ? thread_.join() : thread_.detach(); }

}  // namespace skipstone
