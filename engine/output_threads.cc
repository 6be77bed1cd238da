#include "engine/output_threads.h"

#include <algorithm>
#include <utility>

namespace skipstone {
namespace {

int64_t ResultsOf(const OutputEvent& event) {
  const auto* updated = std::get_if<Updated>(&event.what);
  return 1 + (updated == nullptr ? 0 : std::ssize(updated->update.prompt));
}

}  // namespace

OutputThreads::OutputThreads(int threads, int64_t limit, EngineObserver& observer,
                             const Clock& clock, OutputBatches* batches)
    : limit_(limit), observer_(observer), clock_(clock), batches_(batches) {
  for (int i = 0; i < threads; ++i) shards_.push_back(std::make_unique<Shard>());
}

void OutputThreads::Push(std::vector<OutputEvent>& events) {
  if (events.empty()) return;
  int64_t results = 0;
  MutexLock lock(push_mutex_);
  for (OutputEvent& event : events) {
    results += ResultsOf(event);
    const uint64_t call = event.request->request().call;
    shards_[call % shards_.size()]->batch.push_back(std::move(event));
  }
  events.clear();
  pending_ += results;
  observer_.OnOutputQueue(results);
  for (const auto& shard : shards_) shard->events.PushAll(shard->batch);
}

bool OutputThreads::Full() {
  if (pending_ < limit_) return false;
  steps_wait_ = true;
  return pending_ >= limit_;  // again: there may have been room before that was known
}

void OutputThreads::Handled(int64_t results) {
  observer_.OnOutputQueue(-results);
  const int64_t left = pending_.fetch_sub(results) - results;
  if (left <= limit_ / 2 && steps_wait_.exchange(false)) on_room_();
}

void OutputThreads::Run(int index, const std::function<void(OutputEvent&)>& handle) {
  Shard& shard = *shards_[index];
  std::vector<OutputEvent> events;
  while (shard.events.Take(events, /*wait=*/true)) {
    if (batches_ != nullptr) batches_->OnBatch(events.size());
    for (OutputEvent& event : events) {
      shard.handling_since.store(clock_.Now(), std::memory_order_relaxed);
      handle(event);
      if (abandoned_) return;
      Handled(ResultsOf(event));
    }
    shard.handling_since.store(kNever, std::memory_order_relaxed);
    if (batches_ != nullptr) batches_->OnBatchEnd();
  }
}

Time OutputThreads::handling_since() const {
  Time since = kNever;
  for (const auto& shard : shards_) {
    since = std::min(since, shard->handling_since.load(std::memory_order_relaxed));
  }
  return since;
}

void OutputThreads::Close() {
  for (const auto& shard : shards_) shard->events.Close();
}

}  // namespace skipstone
