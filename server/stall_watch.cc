#include "server/stall_watch.h"

#include <algorithm>
#include <utility>

namespace skipstone::server {

void StallWatch::Stream::End() {
  MutexLock lock(mutex_);
  on_stall_ = nullptr;
  while (reporter_ && *reporter_ != std::this_thread::get_id()) reported_to_.Wait(mutex_);
}

void StallWatch::Stream::Report() {
  std::function<void()> on_stall;
  {
    MutexLock lock(mutex_);
    if (!on_stall_) return;
    on_stall = on_stall_;
    reporter_ = std::this_thread::get_id();
  }
  on_stall();
  {
    MutexLock lock(mutex_);
    reporter_.reset();
  }
  reported_to_.NotifyAll();
}

StallWatch::StallWatch(Duration timeout) : timeout_(timeout) {
  if (timeout_ > Duration::zero()) thread_ = std::thread([this] { Run(); });
}

StallWatch::~StallWatch() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  stopping_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<StallWatch::Stream> StallWatch::Add(std::function<void()> on_stall) {
  auto stream = std::make_shared<Stream>(std::move(on_stall));
  if (!thread_.joinable()) return stream;  // nothing would ever drop what is listed
  MutexLock lock(mutex_);
  streams_.push_back(stream);
  return stream;
}

std::vector<std::shared_ptr<StallWatch::Stream>> StallWatch::Scan() {
  std::vector<std::shared_ptr<Stream>> stalled;
  const Duration::rep now = SystemClock().Now().time_since_epoch().count();
  std::erase_if(streams_, [&](const std::weak_ptr<Stream>& weak) {
    const std::shared_ptr<Stream> stream = weak.lock();
    if (!stream) return true;
    const Duration::rep since = stream->since_;
    if (since != 0 && now - since > timeout_.count() && !stream->reported_) {
      stream->reported_ = true;
      stalled.push_back(stream);
    }
    return false;
  });
  return stalled;
}

void StallWatch::Run() {
  // A stall is noticed within 5/4 of the timeout, and a scan costs little even with many streams.
  const Duration tick =
      std::clamp<Duration>(timeout_ / 4, std::chrono::milliseconds(10), std::chrono::seconds(1));
  while (true) {
    std::vector<std::shared_ptr<Stream>> stalled;
    {
      MutexLock lock(mutex_);
      const Time next = SystemClock().Now() + tick;
      while (!stop_ && stopping_.WaitUntil(mutex_, next)) {
      }
      if (stop_) return;
      stalled = Scan();
    }
    for (const auto& stream : stalled) stream->Report();
  }
}

}  // namespace skipstone::server
