// An engine on a FakeRunner, and what it told its observer.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/skip/skip_grammar.h"
#include "tests/support/fake_runner.h"
#include "tests/support/recording_sink.h"

namespace skipstone {

// Thread-safe.
class RecordingObserver : public EngineObserver {
 public:
  void OnRequestDone(const RequestObservation& done) override {
    MutexLock lock(mutex_);
    done_.push_back(done);
  }
  void OnStep(const StepObservation& step) override {
    MutexLock lock(mutex_);
    ++steps_.rows;
    steps_.preemptions += step.preemptions;
    steps_.shed_layers += step.shed_layers;
    steps_.shed_pages += step.shed_pages;
  }
  void OnOutputQueue(int64_t change) override {
    MutexLock lock(mutex_);
    output_ += change;
    most_output_ = std::max(most_output_, output_);
  }
  // Results on their way to sinks: now, and the most there ever were.
  int64_t output() const {
    MutexLock lock(mutex_);
    return output_;
  }
  int64_t most_output() const {
    MutexLock lock(mutex_);
    return most_output_;
  }
  std::vector<RequestObservation> done() const {
    MutexLock lock(mutex_);
    return done_;
  }
  // Sums over all steps.
  StepObservation steps() const {
    MutexLock lock(mutex_);
    return steps_;
  }

 private:
  mutable Mutex mutex_;
  std::vector<RequestObservation> done_;
  StepObservation steps_;
  int64_t output_ = 0;
  int64_t most_output_ = 0;
};

class FakeEngine {
 public:
  static constexpr int kLayers = 4;
  static constexpr int kVocab = 100;

  static EngineOptions Options() {
    return {.scheduler = {.max_batch_tokens = 16,
                          .max_sequences = 8,
                          .page_tokens = 4,
                          .num_pages = 1000},
            .limits = {.num_layers = kLayers, .vocab = kVocab, .max_context = 64, .max_queue = 100},
            .stall_timeout = std::chrono::seconds(10)};
  }

  // Of `runner` the members that options do not decide.
  explicit FakeEngine(const EngineOptions& options, FakeRunnerOptions runner = {},
                      const Clock* clock = nullptr)
      : clock_(clock != nullptr ? *clock : SystemClock()) {
    runner.vocab = options.limits.vocab;
    runner.page_tokens = options.scheduler.page_tokens;
    runner.num_pages = options.scheduler.num_pages;
    runner.num_layers = options.limits.num_layers;
    engine_ = Engine::Start({.runner = std::make_unique<FakeRunner>(std::move(runner)),
                             .tokenizer = MakeSyntheticTokenizer(options.limits.vocab),
                             .observer = &observer,
                             .clock = clock},
                            options);
  }

  Engine* operator->() { return engine_.get(); }

  // Prompts of different ids share no prefix.
  EngineRequest Request(const std::string& id, int prompt, int max_tokens,
                        const char* skip = "none") const {
    EngineRequest request{.id = id, .skip = *ParseSkipSet(skip, kLayers)};
    const size_t hash = std::hash<std::string>()(id);
    for (int i = 0; i < prompt; ++i) {
      request.prompt.push_back(static_cast<int32_t>((hash >> i % 32) % kVocab));
    }
    request.stopping.max_tokens = max_tokens;
    request.arrival = clock_.Now();
    return request;
  }

  absl::Status TrySubmit(const EngineRequest& request, std::shared_ptr<Recording> recording) {
    return engine_->Submit(request, Recording::Sink(std::move(recording)));
  }
  // Null if it was refused.
  std::shared_ptr<Recording> Submit(const EngineRequest& request) {
    auto recording = std::make_shared<Recording>();
    return TrySubmit(request, recording).ok() ? recording : nullptr;
  }

  // Waits until nothing runs or waits and every page is back. False if that takes a minute: then
  // something leaks.
  bool WaitIdle() {
    const Time deadline = SystemClock().Now() + std::chrono::minutes(1);
    while (SystemClock().Now() < deadline) {
      const EngineLoad load = engine_->load();
      const int sequences = load.running + load.waiting;
      if (load.pages.used == 0 && sequences == 0 && load.waiting_tokens == 0) return true;
      std::this_thread::yield();
    }
    return false;
  }

  RecordingObserver observer;

 private:
  const Clock& clock_;
  EnginePtr engine_;
};

}  // namespace skipstone
