#include "server/validation_pool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

namespace skipstone::server {

ValidationPool::ValidationPool(const Options& options) : options_(options) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Run(); });
}

ValidationPool::~ValidationPool() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

ValidationPool::Ticket ValidationPool::Add(size_t request_bytes, Work work) {
  Job job{.bytes = request_bytes, .work = std::move(work)};
  Ticket ticket = 0;
  absl::Status status;
  {
    MutexLock lock(mutex_);
    ticket = next_++;
    status = Enter(request_bytes > kLargeBytes ? large_ : small_, ticket, job);
  }
  if (status.ok()) {
    changed_.NotifyOne();
  } else {
    job.work(status);
  }
  return ticket;
}

absl::Status ValidationPool::Enter(Lane& lane, Ticket ticket, Job& job) {
  if (job.bytes > kMaxRequestBytes) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "the request can never fit: %d bytes, the limit is %d", job.bytes, kMaxRequestBytes));
  }
  if (lane.jobs.size() >= options_.max_waiting_calls) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%d requests wait to be read, the limit is %d", lane.jobs.size(),
                        options_.max_waiting_calls));
  }
  if (lane.bytes + job.bytes > options_.max_waiting_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%d bytes of requests wait to be read, the limit is %d", lane.bytes,
                        options_.max_waiting_bytes));
  }
  lane.bytes += job.bytes;
  lane.jobs.emplace(ticket, std::move(job));
  return absl::OkStatus();
}

ValidationPool::Job ValidationPool::Leave(Lane& lane, std::map<Ticket, Job>::iterator job) {
  Job taken = std::move(job->second);
  lane.jobs.erase(job);
  lane.bytes -= taken.bytes;
  return taken;
}

void ValidationPool::Withdraw(Ticket ticket, const absl::Status& status) {
  Job job;
  {
    MutexLock lock(mutex_);
    for (Lane* lane : {&small_, &large_}) {
      const auto it = lane->jobs.find(ticket);
      if (it != lane->jobs.end()) job = Leave(*lane, it);
    }
  }
  if (job.work) job.work(status);
}

ValidationPool::Lane* ValidationPool::Pick() {
  const bool large = !large_.jobs.empty() && large_running_ < std::max(1, options_.threads - 1);
  const bool small = !small_.jobs.empty();
  large_was_last_ = large && (!small || !large_was_last_);
  return large_was_last_ ? &large_ : small ? &small_ : nullptr;
}

void ValidationPool::Run() {
  while (true) {
    Job job;
    bool large = false;
    {
      MutexLock lock(mutex_);
      Lane* lane = Pick();
      while (lane == nullptr) {
        if (stop_ && small_.jobs.empty() && large_.jobs.empty()) return;
        changed_.Wait(mutex_);
        lane = Pick();
      }
      large = lane == &large_;
      large_running_ += large ? 1 : 0;
      job = Leave(*lane, lane->jobs.begin());
    }
    job.work(absl::OkStatus());
    if (!large) continue;
    {
      MutexLock lock(mutex_);
      --large_running_;
    }
    changed_.NotifyAll();
  }
}

}  // namespace skipstone::server
