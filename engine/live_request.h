// A request between Submit and OnDone: turns what the step thread reports into text, timings and
// calls of the sink. Only its output thread calls it, off the critical path of the steps. Its
// sequences are the step thread's.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "engine/engine_observer.h"
#include "engine/model/text_stream.h"
#include "engine/model/tokenizer.h"
#include "engine/request.h"
#include "engine/schedule/scheduler.h"

namespace skipstone {

// The first of its sequences started, with so many tokens from the prefix cache; all start with
// `skip`.
struct Scheduled {
  Time time{};
  int cached_tokens = 0;
  SkipSet skip;
};

// A step that was committed at `time` brought this to one of its outputs.
struct Updated {
  Time time{};
  SequenceUpdate update;
};

// An output ends early, with what it has.
struct OutputEnded {
  int index = 0;
  FinishReason reason = FinishReason::kTimeLimit;
  int preemptions = 0;
};

// The request ends. `outcome` unset: by its outputs' reasons.
struct RequestEnded {
  absl::Status status;
  std::optional<Outcome> outcome;
};

class LiveRequest : public SequenceGroup {
 public:
  struct Context {
    const Tokenizer& tokenizer;
    EngineObserver& observer;  // which is asked for the request's
    const Clock& clock;
    int page_tokens;
  };

  LiveRequest(EngineRequest request, std::unique_ptr<RequestSink> sink, const Context& context);

  const EngineRequest& request() const { return request_; }

  // A step spent so much on it. The step thread calls, before it hands over what the step brought.
  void AddAttributed(Duration time) {
    attributed_.fetch_add(time.count(), std::memory_order_relaxed);
  }

  // So many pages were held for so many seconds of steps. The step thread calls, as above.
  void AddPageSeconds(double more) { page_seconds_.fetch_add(more, std::memory_order_relaxed); }

  void On(const Scheduled& scheduled);
  // Returns true if the text matched a stop string, so that the sequence must end now.
  bool On(const Updated& updated);
  void On(const OutputEnded& ended);
  // Every output has finished.
  bool AllFinished() const { return finished_outputs_ == static_cast<int>(outputs_.size()); }
  // The last call: tells the sink and the observer.
  void On(const RequestEnded& ended);
  bool done() const { return done_; }

 private:
  struct Output {
    TextStream text;
    std::vector<AppliedRange> applied;  // what layers were shed to
    bool prompt_begun = false;          // its first prompt token was delivered
    int tokens = 0;
    Time first_token{};
    Time last_token{};
    bool finished = false;
  };

  TokenText TextOf(const TokenLogprob& token, bool with_logprob) const;
  GeneratedToken Generated(const TokenLogprob& token, const LogitsResult& result,
                           bool with_logprob) const;
  OutputDelta PromptDelta(const SequenceUpdate& update);
  bool AddToken(int index, const LogitsResult& sampled, Time time, OutputDelta* delta);
  void Deliver(OutputDelta delta);
  // Brings the running parts of timing_ up to now.
  void ReadClocks();
  void EndOutput(int index, FinishReason reason, std::optional<int32_t> stop_token,
                 int preemptions);
  FinishReason LengthReason(const Output& output) const;
  // Tokens that it has stored so far, and the pages that these hold.
  int64_t StoredBy(const Output& output) const;
  int64_t PagesOf(const Output& output) const;
  // The set in force.
  const SkipSet& SkipOf(const Output& output) const {
    return output.applied.empty() ? skip_ : output.applied.back().skip;
  }
  RequestTotals Totals(const RequestEnded& ended) const;

  const EngineRequest request_;
  std::unique_ptr<RequestSink> sink_;
  const Context context_;
  RequestObserver& observer_;
  std::vector<Output> outputs_;
  int finished_outputs_ = 0;
  bool done_ = false;
  bool any_time_limit_ = false;
  bool any_aborted_ = false;
  int cached_tokens_ = 0;
  int64_t pages_windowed_ = 0;
  int64_t pages_omitted_ = 0;
  std::atomic<Duration::rep> attributed_{0};
  std::atomic<double> page_seconds_{0};
  RequestTiming timing_;  // of the request: the latest known
  SkipSet skip_;          // that the outputs start with
  std::optional<Time> scheduled_;
  std::optional<Time> first_delivery_;
};

// Requests are shared by the step thread (whose sequences name them), the output thread (which runs
// their code) and the table of live ids; whichever lets go last frees them.
using LiveRequestPtr = std::shared_ptr<LiveRequest>;

// What the step thread tells the output threads.
struct OutputEvent {
  LiveRequestPtr request;
  std::variant<Scheduled, Updated, OutputEnded, RequestEnded> what;
};

}  // namespace skipstone
