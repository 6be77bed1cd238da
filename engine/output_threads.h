// The threads that turn the steps' results into calls of sinks. All requests of a call belong to
// one thread, so that its sinks are called one at a time and in order.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/mailbox.h"
#include "engine/engine_observer.h"
#include "engine/live_request.h"

namespace skipstone {

// Who wants to know which calls of sinks come together. Called on the output thread whose calls
// they are, before the first and after the last.
class OutputBatches {
 public:
  virtual ~OutputBatches() = default;
  virtual void OnBatch(size_t events) = 0;
  virtual void OnBatchEnd() = 0;
};

// Thread-safe.
class OutputThreads {
 public:
  // `limit`: the results (an event counts one, and one for each log-probability of a prompt that it
  // carries) that may be on their way before the steps wait.
  OutputThreads(int threads, int64_t limit, EngineObserver& observer, const Clock& clock,
                OutputBatches* batches = nullptr);

  int size() const { return static_cast<int>(shards_.size()); }
  // Thread `index` of size(): handles events until Close, or until Abandon.
  void Run(int index, const std::function<void(OutputEvent&)>& handle);
  // Called by an output thread when Full() was true and half of the limit is free again. Set before
  // the threads run.
  void set_on_room(std::function<void()> on_room) { on_room_ = std::move(on_room); }

  // Never blocks and drops nothing. Leaves `events` empty.
  void Push(std::vector<OutputEvent>& events);
  // Whether so much is on its way that no step should be planned. Step thread only.
  bool Full();
  // Since when the event has been handled that takes longest; kNever if none is.
  Time handling_since() const;
  // What is on its way will still be handled.
  void Close();
  // A thread that hangs in a sink touches nothing more when it comes back.
  void Abandon() { abandoned_ = true; }

 private:
  struct Shard {
    Mailbox<OutputEvent> events;
    std::vector<OutputEvent> batch;  // Push's own
    std::atomic<Time> handling_since{kNever};
  };

  void Handled(int64_t results);

  const int64_t limit_;
  EngineObserver& observer_;
  const Clock& clock_;
  OutputBatches* const batches_;  // may be null
  std::function<void()> on_room_;
  std::vector<std::unique_ptr<Shard>> shards_;
  Mutex push_mutex_;  // of the steps, and of an end that they did not bring
  std::atomic<int64_t> pending_{0};
  std::atomic<bool> steps_wait_{false};
  std::atomic<bool> abandoned_{false};
};

}  // namespace skipstone
