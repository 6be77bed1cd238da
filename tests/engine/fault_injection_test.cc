// What goes wrong in production, on purpose: nothing leaks, and every client gets a status.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_engine.h"
#include "tests/support/gate.h"

namespace skipstone {
namespace {

constexpr int kThreads = 4;

// Counts its ends.
class CountingSink : public RequestSink {
 public:
  CountingSink(std::atomic<int>& ends, std::atomic<int>& all_ends)
      : ends_(ends), all_ends_(all_ends) {}
  void OnAccepted(const AcceptedInfo&) override {}
  void OnDelta(OutputDelta) override {}
  void OnFinished(const OutputFinished&) override {}
  void OnDone(const absl::Status&, const RequestTotals&) override {
    ++ends_;
    ++all_ends_;
  }

 private:
  std::atomic<int>& ends_;
  std::atomic<int>& all_ends_;
};

class FaultInjectionTest : public testing::TestWithParam<int> {  // steps in flight
 protected:
  FakeRunnerOptions Runner() {
    return {.max_in_flight = GetParam(), .on_launch = [this](const StepPlan&) { gate_.Pass(); }};
  }
  Gate gate_;
  FakeClock clock_;
};

TEST_P(FaultInjectionTest, ARunnerThatFailsInMidTrafficEndsEveryRequest) {
  FakeRunnerOptions runner = Runner();
  runner.fail_at_step = 30;
  FakeEngine engine(FakeEngine::Options(), runner);
  gate_.CloseFrom(1);
  std::vector<std::shared_ptr<Recording>> recordings;
  absl::Status refusal;
  for (int i = 0; refusal.ok(); ++i) {
    if (i == 40) gate_.Open();  // all of these are there when the first step ends
    const EngineRequest request = engine.Request("r" + std::to_string(i), 9, 30);
    auto recording = std::make_shared<Recording>();
    const absl::Status status = engine.TrySubmit(request, recording);
    if (status.ok()) recordings.push_back(recording);
    if (!absl::IsResourceExhausted(status)) refusal = status;
  }
  EXPECT_TRUE(absl::IsInternal(refusal)) << refusal;
  EXPECT_TRUE(absl::IsInternal(engine->health()));
  int failed = 0;
  for (auto& recording : recordings) {
    const absl::Status status = recording->WaitDone();
    EXPECT_TRUE(status.ok() || absl::IsInternal(status)) << status;
    failed += absl::IsInternal(status) ? 1 : 0;
  }
  EXPECT_GT(failed, 8) << "more than those that ran";
  EXPECT_TRUE(engine.WaitIdle());
}

// A broken layer is the business of those who run it: the others in the same steps go on.
TEST_P(FaultInjectionTest, NonFiniteLogitsFailTheRequestsWhoseSetsRunTheLayer) {
  FakeRunnerOptions runner = Runner();
  runner.broken_layer = 3;
  runner.broken_from = 11;
  FakeEngine engine(FakeEngine::Options(), runner);
  gate_.Close();
  std::vector<std::shared_ptr<Recording>> broken, whole;
  for (int i = 0; i < 4; ++i) {
    EngineRequest runs = engine.Request("runs" + std::to_string(i), 10, 20, "attn:1");
    runs.labels.level = "some";
    runs.n = i == 0 ? 3 : 1;
    if (i == 1) runs.output.prompt_logprobs = 0;
    broken.push_back(engine.Submit(runs));
    whole.push_back(engine.Submit(engine.Request("skips" + std::to_string(i), 10, 20, "attn:3")));
  }
  EngineRequest scores = engine.Request("scores", 30, 1, "attn:1");
  scores.score_from = 1;
  broken.push_back(engine.Submit(scores));
  gate_.Open();
  for (auto& recording : broken) {
    const absl::Status status = recording->WaitDone();
    EXPECT_TRUE(absl::IsInternal(status)) << status;
    EXPECT_THAT(status.ToString(), testing::AllOf(testing::HasSubstr("logits at position 11"),
                                                  testing::HasSubstr("non-finite"),
                                                  testing::HasSubstr("skipping 'attn:1'")));
    for (const auto& output : recording->outputs()) EXPECT_FALSE(output.finished.has_value());
  }
  EXPECT_THAT(broken[1]->WaitDone().ToString(), testing::HasSubstr("level 'some'"));
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_TRUE(whole[i]->WaitDone().ok());
    const EngineRequest request = engine.Request("skips" + std::to_string(i), 10, 20, "attn:3");
    std::vector<int32_t> tokens = request.prompt;
    while (tokens.size() < 30) {
      tokens.push_back(FakeToken(tokens, request.skip, FakeEngine::kVocab));
    }
    EXPECT_EQ(whole[i]->outputs()[0].Ids(), std::vector(tokens.begin() + 10, tokens.end()));
  }
  EXPECT_TRUE(engine->health().ok());
  EXPECT_TRUE(engine.WaitIdle());
  const auto done = engine.observer.done();
  EXPECT_EQ(std::ranges::count(done, Outcome::kError, &RequestObservation::outcome), 5);
  EXPECT_EQ(std::ranges::count(done, Outcome::kOk, &RequestObservation::outcome), 4);
}

TEST_P(FaultInjectionTest, HealthRecoversWhenAStalledStepEnds) {
  FakeEngine engine(FakeEngine::Options(), Runner(), &clock_);
  gate_.CloseFrom(3);
  auto recording = engine.Submit(engine.Request("a", 3, 20));
  gate_.WaitArrivals(3);
  EXPECT_TRUE(engine->health().ok());
  clock_.Advance(std::chrono::seconds(11));
  EXPECT_TRUE(absl::IsUnavailable(engine->health()));
  gate_.Open();
  EXPECT_TRUE(recording->WaitDone().ok());
  EXPECT_TRUE(engine->health().ok());
}

// Fills the queue behind a step that is held, and goes on knocking.
void Flood(FakeEngine& engine, Gate& gate, int fits) {
  constexpr int kSubmits = 10'000;
  gate.Close();
  std::vector<std::shared_ptr<Recording>> recordings{engine.Submit(engine.Request("0", 3, 5))};
  gate.WaitArrivals(1);
  int refused = 0, told_when = 0;
  for (int i = 1; i < kSubmits; ++i) {
    const EngineRequest request = engine.Request(std::to_string(i), 3, 5);
    auto recording = std::make_shared<Recording>();
    const absl::Status status = engine.TrySubmit(request, recording);
    if (status.ok()) {
      recordings.push_back(recording);
      continue;
    }
    refused += absl::IsResourceExhausted(status) && !IsNeverFits(status) ? 1 : 0;
    const double retry = Seconds(engine->RetryAfter(AmountOf(request), ""));
    told_when += std::isfinite(retry) && retry > 0 && retry < 3600 ? 1 : 0;
  }
  EXPECT_EQ(recordings.size(), 1u + fits);
  EXPECT_EQ(refused, kSubmits - 1 - fits);
  EXPECT_EQ(told_when, refused);
  gate.Open();
  for (auto& recording : recordings) EXPECT_TRUE(recording->WaitDone().ok());
}

TEST_P(FaultInjectionTest, AFloodMeetsTheBoundInRequests) {
  FakeEngine engine(FakeEngine::Options(), Runner());
  Flood(engine, gate_, 100);
  EXPECT_TRUE(engine.WaitIdle());
}

TEST_P(FaultInjectionTest, AFloodMeetsTheBoundInTokens) {
  EngineOptions options = FakeEngine::Options();
  options.limits.max_queue = 100'000;
  options.limits.max_queue_tokens = 160;
  FakeEngine engine(options, Runner());
  Flood(engine, gate_, 53);  // prompts of 3 tokens
  EXPECT_TRUE(engine.WaitIdle());
}

class CancelStorm {
 public:
  static constexpr int kRequests = 10'000;

  explicit CancelStorm(FakeEngine& engine) : engine_(engine), ends_(kRequests) {}

  void Run() {
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) threads.emplace_back([this, t] { Storm(t); });
    for (std::thread& thread : threads) thread.join();
    while (all_ends_ < kRequests) std::this_thread::yield();
  }

  const std::vector<std::atomic<int>>& ends() const { return ends_; }
  int unknown_found() const { return unknown_found_; }

 private:
  void Storm(int thread) {
    std::mt19937 random(thread);
    constexpr int kEach = kRequests / kThreads;
    for (int i = 0; i < kEach; ++i) {
      const int own = thread * kEach + i;
      const EngineRequest request =
          engine_.Request(std::to_string(own), 1 + random() % 12, 1 + random() % 30,
                          random() % 2 ? "none" : "attn:2-3");
      auto sink = std::make_unique<CountingSink>(ends_[own], all_ends_);
      EXPECT_TRUE(engine_->Submit(request, std::move(sink)).ok());
      if (random() % 2 == 0) Cancel(own, random);
      if (random() % 2 == 0) Cancel(random() % kRequests, random);  // anybody's, or nobody's yet
      if (engine_->Cancel("nobody", Engine::CancelReason::kAbort)) ++unknown_found_;
      // Nobody is spared for long: twice.
      if (i >= 16) Cancel(own - 16, random);
      if (i >= 17) Cancel(own - 17, random);
    }
    for (int i = 0; i < kEach; ++i) Cancel(thread * kEach + i, random);
  }

  void Cancel(int request, std::mt19937& random) {
    static constexpr Engine::CancelReason kReasons[] = {
        Engine::CancelReason::kClientGone, Engine::CancelReason::kAbort,
        Engine::CancelReason::kStreamStalled, Engine::CancelReason::kDeadline};
    engine_->Cancel(std::to_string(request), kReasons[random() % 4]);
  }

  FakeEngine& engine_;
  std::vector<std::atomic<int>> ends_;
  std::atomic<int> all_ends_{0};
  std::atomic<int> unknown_found_{0};
};

TEST_P(FaultInjectionTest, ACancelStormEndsEachRequestOnce) {
  EngineOptions options = FakeEngine::Options();
  options.scheduler.num_pages = 60;
  options.limits.max_queue = CancelStorm::kRequests;
  FakeEngine engine(options, Runner());
  CancelStorm storm(engine);
  storm.Run();
  EXPECT_TRUE(engine.WaitIdle());
  for (const std::atomic<int>& ends : storm.ends()) ASSERT_EQ(ends, 1);
  EXPECT_EQ(storm.unknown_found(), 0);
  EXPECT_EQ(std::ssize(engine.observer.done()), CancelStorm::kRequests);
}

TEST_P(FaultInjectionTest, APoolForOneMaximalSequenceServesMany) {
  EngineOptions options = FakeEngine::Options();
  options.scheduler.num_pages = 40;  // 4 layers of 10 blocks: 40 stored tokens
  FakeEngine engine(options, Runner());
  gate_.Close();
  std::vector<std::shared_ptr<Recording>> recordings;
  for (int i = 0; i < 30; ++i) {
    recordings.push_back(engine.Submit(engine.Request(std::to_string(i), 8, 33)));
    ASSERT_NE(recordings.back(), nullptr);
  }
  gate_.Open();
  for (auto& recording : recordings) {
    ASSERT_TRUE(recording->WaitDone().ok());
    EXPECT_EQ(recording->outputs()[0].tokens.size(), 33u);
  }
  EXPECT_GT(engine.observer.steps().preemptions, 0);
  EXPECT_TRUE(engine.WaitIdle());
}

TEST_P(FaultInjectionTest, DropsFromTheQueueWhatCannotMeetItsDeadline) {
  FakeRunnerOptions runner = Runner();
  runner.on_launch = [this](const StepPlan&) { clock_.Advance(std::chrono::milliseconds(100)); };
  FakeEngine engine(FakeEngine::Options(), runner, &clock_);
  // Full steps, so that the engine learns its rate: 16 rows in 100 ms.
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(engine.Submit(engine.Request("warm" + std::to_string(i), 16, 1))->WaitDone().ok());
  }
  EngineRequest hopeless = engine.Request("hopeless", 48, 1);  // 300 ms
  hopeless.deadline = clock_.Now() + std::chrono::milliseconds(250);
  EngineRequest possible = engine.Request("possible", 48, 1);
  possible.deadline = clock_.Now() + std::chrono::milliseconds(450);
  auto dropped = engine.Submit(hopeless);
  const absl::Status status = dropped->WaitDone();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(status.ToString(), testing::HasSubstr("before a first token"));
  EXPECT_LT(clock_.Now(), hopeless.deadline);
  EXPECT_FALSE(dropped->accepted().has_value());
  EXPECT_TRUE(engine.Submit(possible)->WaitDone().ok());
  EXPECT_TRUE(engine.WaitIdle());
}

TEST_P(FaultInjectionTest, DeadlinesAndTimeLimitsUnderLoadEndEachRequestOnce) {
  FakeRunnerOptions runner = Runner();
  runner.on_launch = [this](const StepPlan&) {
    gate_.Pass();
    clock_.Advance(std::chrono::milliseconds(10));
  };
  EngineOptions options = FakeEngine::Options();
  options.scheduler.num_pages = 60;
  options.limits.max_queue = 1000;
  FakeEngine engine(options, runner, &clock_);
  std::mt19937 random(1);
  gate_.Close();
  std::vector<std::shared_ptr<Recording>> recordings;
  for (int i = 0; i < 200; ++i) {
    EngineRequest request = engine.Request(std::to_string(i), 1 + random() % 20, 1 + random() % 30);
    request.n = 1 + random() % 2;
    const Duration patience = std::chrono::milliseconds(1 + random() % 6000);
    if (i % 3 == 0) request.deadline = clock_.Now() + patience;
    if (i % 3 == 1) request.stopping.time_limit = patience;
    recordings.push_back(engine.Submit(request));
    ASSERT_NE(recordings.back(), nullptr);
  }
  gate_.Open();
  int expired = 0, limited = 0, whole = 0;
  for (auto& recording : recordings) {
    const absl::Status status = recording->WaitDone();
    EXPECT_TRUE(status.ok() || absl::IsDeadlineExceeded(status)) << status;
    expired += status.ok() ? 0 : 1;
    if (!status.ok()) continue;
    const FinishReason reason = recording->outputs().at(0).finished->reason;
    limited += reason == FinishReason::kTimeLimit ? 1 : 0;
    whole += reason == FinishReason::kMaxTokens ? 1 : 0;
  }
  EXPECT_GT(expired, 5);
  EXPECT_GT(limited, 5);
  EXPECT_GT(whole, 60);
  EXPECT_EQ(expired + limited + whole, 200);
  EXPECT_TRUE(engine.WaitIdle());
}

TEST_P(FaultInjectionTest, ADrainInAStormGivesEveryoneAStatus) {
  EngineOptions options = FakeEngine::Options();
  options.limits.max_queue = 1 << 20;
  FakeEngine engine(options, Runner());
  constexpr int kMost = 4000;
  std::vector<std::vector<std::shared_ptr<Recording>>> recordings(kThreads);
  std::atomic<int> submitted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      absl::Status status;
      for (int i = 0; status.ok() && i < kMost; ++i) {
        auto recording = std::make_shared<Recording>();
        const std::string id = std::to_string(t) + "." + std::to_string(i);
        status = engine.TrySubmit(engine.Request(id, 5, 1 + i % 30), recording);
        if (status.ok()) recordings[t].push_back(recording);
        ++submitted;
      }
      EXPECT_TRUE(status.ok() || absl::IsUnavailable(status)) << status;
    });
  }
  while (submitted < 200) std::this_thread::yield();
  engine->Drain(SystemClock().Now());
  for (std::thread& thread : threads) thread.join();
  const EngineRequest late = engine.Request("late", 3, 3);
  EXPECT_TRUE(absl::IsUnavailable(engine.TrySubmit(late, std::make_shared<Recording>())));
  for (const auto& of_thread : recordings) {
    for (const auto& recording : of_thread) {
      const absl::Status status = recording->WaitDone();
      EXPECT_TRUE(status.ok() || absl::IsUnavailable(status)) << status;
    }
  }
  EXPECT_TRUE(engine.WaitIdle());
}

// The thread that the device holds touches nothing of the engine's owner when it comes back.
TEST_P(FaultInjectionTest, AnEndWaitsForNoHungDevice) {
  FakeRunnerOptions runner = Runner();
  const auto alive = std::make_shared<int>();
  runner.on_launch = [this, alive](const StepPlan&) { gate_.Pass(); };
  EngineOptions options = FakeEngine::Options();
  options.end_timeout = std::chrono::milliseconds(100);
  auto engine = std::make_unique<FakeEngine>(options, runner);
  runner.on_launch = nullptr;
  gate_.Close();
  auto recording = engine->Submit(engine->Request("a", 5, 30));
  gate_.WaitArrivals(1);
  EXPECT_FALSE((*engine)->Drain(SystemClock().Now()));
  const absl::Status status = recording->WaitDone();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(absl::IsInternal((*engine)->health())) << (*engine)->health();
  engine.reset();
  EXPECT_GT(alive.use_count(), 1) << "it is still held";
  gate_.Open();
  while (alive.use_count() > 1) std::this_thread::yield();
}

TEST_P(FaultInjectionTest, AnEndWithoutADrainWaitsForNoHungDeviceEither) {
  FakeRunnerOptions runner = Runner();
  const auto alive = std::make_shared<int>();
  runner.on_launch = [this, alive](const StepPlan&) { gate_.Pass(); };
  EngineOptions options = FakeEngine::Options();
  options.end_timeout = std::chrono::milliseconds(100);
  auto engine = std::make_unique<FakeEngine>(options, runner);
  runner.on_launch = nullptr;
  gate_.Close();
  auto recording = engine->Submit(engine->Request("a", 5, 30));
  gate_.WaitArrivals(1);
  engine.reset();
  EXPECT_TRUE(absl::IsUnavailable(recording->WaitDone()));
  gate_.Open();
  while (alive.use_count() > 1) std::this_thread::yield();
}

// A sink that is held at a gate.
class HeldSink : public RequestSink {
 public:
  HeldSink(Gate& gate, std::atomic<int>& tokens) : gate_(gate), tokens_(tokens) {}
  void OnAccepted(const AcceptedInfo&) override { gate_.Pass(); }
  void OnDelta(OutputDelta delta) override { tokens_ += static_cast<int>(delta.tokens.size()); }
  void OnFinished(const OutputFinished&) override {}
  void OnDone(const absl::Status&, const RequestTotals&) override { gate_.Pass(); }

 private:
  Gate& gate_;
  std::atomic<int>& tokens_;
};

TEST_P(FaultInjectionTest, ASinkThatHangsShowsInTheHealth) {
  Gate sinks;
  std::atomic<int> tokens{0};
  sinks.CloseFrom(1);
  FakeEngine engine(FakeEngine::Options(), Runner(), &clock_);
  ASSERT_TRUE(
      engine->Submit(engine.Request("a", 5, 3), std::make_unique<HeldSink>(sinks, tokens)).ok());
  sinks.WaitArrivals(1);
  EXPECT_TRUE(engine.WaitIdle()) << "the steps do not wait for it";
  EXPECT_TRUE(engine->health().ok());
  clock_.Advance(std::chrono::seconds(11));
  EXPECT_TRUE(absl::IsUnavailable(engine->health())) << engine->health();
  // The last step may be on its way out of the device still.
  while (!absl::StrContains(engine->health().ToString(), "a call of a sink")) {
    ASSERT_FALSE(engine->health().ok());
    std::this_thread::yield();
  }
  sinks.Open();
  sinks.WaitArrivals(2);
  while (!engine->health().ok()) std::this_thread::yield();
}

TEST_P(FaultInjectionTest, StepsWaitForSinksThatAreFarBehind) {
  Gate sinks;
  std::atomic<int> tokens{0};
  sinks.CloseFrom(1);
  constexpr int kTokens = 1000;
  EngineOptions options = FakeEngine::Options();
  options.scheduler.num_pages = 10000;
  options.limits.max_context = 2 * kTokens;
  options.scheduler.max_batch_tokens = 8;
  const int limit = 16 * 2 * options.scheduler.max_batch_tokens;
  FakeEngine engine(options, Runner());
  ASSERT_TRUE(
      engine->Submit(engine.Request("a", 5, kTokens), std::make_unique<HeldSink>(sinks, tokens))
          .ok());
  while (engine.observer.most_output() < limit) std::this_thread::yield();
  // The step thread still takes commands, and does not step for what has room either.
  auto other = engine.Submit(engine.Request("b", 5, 30));
  EXPECT_TRUE(engine->Cancel("b", Engine::CancelReason::kClientGone));
  while (engine->load().waiting > 0) std::this_thread::yield();
  EXPECT_LT(engine.observer.most_output(), limit + 16);
  sinks.Open();
  EXPECT_TRUE(absl::IsCancelled(other->WaitDone()));
  sinks.WaitArrivals(2);
  EXPECT_EQ(tokens, kTokens) << "nothing is lost";
  EXPECT_LT(engine.observer.most_output(), limit + 16);
  EXPECT_TRUE(engine.WaitIdle());
  while (engine.observer.output() != 0) std::this_thread::yield();
}

TEST_P(FaultInjectionTest, RequestsOfACallHaveOneOutputThread) {
  EngineOptions options = FakeEngine::Options();
  options.output_threads = 4;
  FakeEngine engine(options, Runner());
  constexpr int kCalls = 8;
  class ThreadSink : public RequestSink {
   public:
    explicit ThreadSink(std::thread::id* thread, std::atomic<int>& ended)
        : thread_(thread), ended_(ended) {}
    void OnAccepted(const AcceptedInfo&) override { *thread_ = std::this_thread::get_id(); }
    void OnDelta(OutputDelta) override { EXPECT_EQ(*thread_, std::this_thread::get_id()); }
    void OnFinished(const OutputFinished&) override {}
    void OnDone(const absl::Status&, const RequestTotals&) override { ++ended_; }

   private:
    std::thread::id* const thread_;
    std::atomic<int>& ended_;
  };
  std::thread::id threads[kCalls][3];
  std::atomic<int> ended{0};
  for (int call = 0; call < kCalls; ++call) {
    for (int item = 0; item < 3; ++item) {
      EngineRequest request =
          engine.Request(std::to_string(call) + "#" + std::to_string(item), 5, 10);
      request.call = call;
      auto sink = std::make_unique<ThreadSink>(&threads[call][item], ended);
      ASSERT_TRUE(engine->Submit(request, std::move(sink)).ok());
    }
  }
  while (ended < 3 * kCalls) std::this_thread::yield();
  std::set<std::thread::id> all;
  for (const auto& of_call : threads) {
    EXPECT_EQ(of_call[0], of_call[1]);
    EXPECT_EQ(of_call[0], of_call[2]);
    all.insert(of_call[0]);
  }
  EXPECT_EQ(all.size(), 4u);
}

TEST_P(FaultInjectionTest, WhateverEndsARequestItsTotalsAreWhatItHad) {
  FakeRunnerOptions runner = Runner();
  runner.on_launch = [this](const StepPlan&) {
    gate_.Pass();
    clock_.Advance(std::chrono::milliseconds(10));
  };
  EngineOptions options = FakeEngine::Options();
  options.scheduler.max_sequences = 1;
  FakeEngine engine(options, runner, &clock_);
  gate_.CloseFrom(5);
  auto running = engine.Submit(engine.Request("running", 3, 10));
  running->WaitTokens(2);
  gate_.WaitArrivals(5);  // the step thread is held there, and takes both ends at once
  auto waiting = engine.Submit(engine.Request("waiting", 5, 10));
  clock_.Advance(std::chrono::milliseconds(500));
  for (const char* id : {"running", "waiting"}) {
    EXPECT_TRUE(engine->Cancel(id, Engine::CancelReason::kStreamStalled));
  }
  gate_.Open();
  EXPECT_TRUE(absl::IsCancelled(running->WaitDone()));
  EXPECT_TRUE(absl::IsCancelled(waiting->WaitDone()));
  const RequestTotals& had = running->totals();
  EXPECT_EQ(had.completion_tokens, std::ssize(running->outputs()[0].tokens));
  EXPECT_GE(had.completion_tokens, 2);
  EXPECT_EQ(had.outcome, Outcome::kAborted);
  EXPECT_TRUE(had.first_token);
  EXPECT_EQ(had.outputs, 1);
  EXPECT_EQ(had.prompt_tokens, 3);
  EXPECT_EQ(had.kv_pages_used, 4 * ((3 + had.completion_tokens - 1 + 3) / 4));
  EXPECT_GT(had.timing.ttft, Duration::zero());
  EXPECT_GE(had.timing.e2e, std::chrono::milliseconds(500));
  const RequestTotals& had_not = waiting->totals();
  EXPECT_FALSE(had_not.first_token);
  EXPECT_EQ(had_not.outputs, 0);
  EXPECT_EQ(had_not.completion_tokens, 0);
  EXPECT_EQ(had_not.prompt_tokens, 5);
  EXPECT_EQ(had_not.kv_pages_used, 0);
  EXPECT_GE(had_not.timing.queue, std::chrono::milliseconds(500)) << "it waited all its time";
  EXPECT_EQ(had_not.timing.queue, had_not.timing.e2e);
}

INSTANTIATE_TEST_SUITE_P(StepsInFlight, FaultInjectionTest, testing::Values(1, 2),
                         [](const testing::TestParamInfo<int>& info) {
                           return info.param == 1 ? "One" : "Two";
                         });

}  // namespace
}  // namespace skipstone
