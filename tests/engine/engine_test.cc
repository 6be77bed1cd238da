#include "engine/engine.h"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_runner.h"
#include "tests/support/gate.h"
#include "tests/support/recording_sink.h"

namespace skipstone {
namespace {

constexpr int kLayers = 4;
constexpr int kVocab = 100;
constexpr int kPageTokens = 4;

struct CountingObserver : EngineObserver {
  void OnRequestDone(const RequestObservation& observation) override {
    MutexLock lock(mutex);
    done.push_back(observation);
  }
  void OnStep(const StepObservation& step) override {
    MutexLock lock(mutex);
    preemptions += step.preemptions;
    step_time += step.duration;
    most_sequences = std::max(most_sequences, step.sequences);
  }
  Mutex mutex;
  std::vector<RequestObservation> done;
  int preemptions = 0;
  int most_sequences = 0;
  Duration step_time{};
};

class EngineTest : public testing::TestWithParam<int> {  // steps in flight
 protected:
  void StartEngine(int64_t num_pages = 1000, const Clock* clock = nullptr, int max_queue = 100) {
    auto runner =
        std::make_unique<FakeRunner>(FakeRunnerOptions{.vocab = kVocab,
                                                       .page_tokens = kPageTokens,
                                                       .num_pages = num_pages,
                                                       .num_layers = kLayers,
                                                       .max_in_flight = GetParam(),
                                                       .on_launch = [this](const StepPlan&) {
                                                         if (on_launch_) on_launch_();
                                                         gate_.Pass();
                                                       }});
    runner_ = runner.get();
    engine_ = Engine::Start({.runner = std::move(runner),
                             .tokenizer = MakeSyntheticTokenizer(kVocab),
                             .observer = &observer_,
                             .clock = clock},
                            {.scheduler = {.max_batch_tokens = 16,
                                           .max_sequences = 8,
                                           .page_tokens = kPageTokens,
                                           .num_pages = num_pages},
                             .limits = {.num_layers = kLayers,
                                        .vocab = kVocab,
                                        .max_context = 64,
                                        .max_queue = max_queue},
                             .stall_timeout = std::chrono::seconds(10)});
  }

  EngineRequest Request(const std::string& id, int max_tokens, const char* skip = "none") {
    EngineRequest request{.id = id, .prompt = {5, 6, 7}, .skip = *ParseSkipSet(skip, kLayers)};
    request.stopping.max_tokens = max_tokens;
    request.arrival = SystemClock().Now();
    return request;
  }

  std::shared_ptr<Recording> Submit(EngineRequest request) {
    auto recording = std::make_shared<Recording>();
    const absl::Status status = engine_->Submit(std::move(request), Recording::Sink(recording));
    EXPECT_TRUE(status.ok()) << status;
    return recording;
  }

  absl::Status Refusal(EngineRequest request) {
    return engine_->Submit(std::move(request), Recording::Sink(std::make_shared<Recording>()));
  }

  // Waits until the step thread has given everything back.
  void WaitWholePool() {
    while (engine_->load().pages.used != 0) std::this_thread::yield();
  }

  static std::vector<int32_t> Expected(const EngineRequest& request, int count) {
    std::vector<int32_t> tokens = request.prompt;
    for (int i = 0; i < count; ++i) tokens.push_back(FakeToken(tokens, request.skip, kVocab));
    return {tokens.begin() + request.prompt.size(), tokens.end()};
  }

  Gate gate_;
  FakeClock clock_;                  // outlives the engine
  std::function<void()> on_launch_;  // in the step thread, before the gate
  CountingObserver observer_;
  FakeRunner* runner_ = nullptr;
  EnginePtr engine_;
};

TEST_P(EngineTest, DeliversTokensTextAndPageCounts) {
  StartEngine();
  const EngineRequest request = Request("a", 10, "attn:last=50%");
  auto recording = Submit(request);
  ASSERT_TRUE(recording->WaitDone().ok());
  const Recording::Output& output = recording->outputs().at(0);
  EXPECT_EQ(output.Ids(), Expected(request, 10));
  EXPECT_EQ(recording->accepted()->prompt_tokens, 3);
  EXPECT_EQ(output.finished->reason, FinishReason::kMaxTokens);
  EXPECT_EQ(output.finished->completion_tokens, 10);
  EXPECT_EQ(output.finished->kv_pages_used, 2 * 3);  // 12 stored tokens, 2 kept layers
  EXPECT_EQ(output.finished->kv_pages_omitted, 2 * 3);
  std::string text;
  for (const int32_t id : Expected(request, 10)) text += " " + std::to_string(id);
  EXPECT_EQ(output.text, text);
  WaitWholePool();
}

TEST_P(EngineTest, AttributesTheTimeOfEveryStepToItsRequests) {
  FakeClock& clock = clock_;
  on_launch_ = [&] { clock.Advance(std::chrono::milliseconds(10)); };
  StartEngine(1000, &clock);
  gate_.Close();
  EngineRequest first = Request("first", 1);
  EngineRequest half = Request("half", 20, "attn:last=2");
  EngineRequest full = Request("full", 20);
  full.n = 2;
  const Time start = clock.Now();
  first.arrival = half.arrival = full.arrival = start;
  // The others come during its step, so that they share every step of theirs.
  auto first_recording = Submit(first);
  gate_.WaitArrivals(1);
  auto half_recording = Submit(half);
  auto full_recording = Submit(full);
  gate_.Open();
  ASSERT_TRUE(first_recording->WaitDone().ok());
  ASSERT_TRUE(half_recording->WaitDone().ok());
  ASSERT_TRUE(full_recording->WaitDone().ok());
  Duration attributed{};
  for (const RequestObservation& done : observer_.done) attributed += done.timing.attributed;
  const Duration first_time = first_recording->outputs()[0].finished->timing.attributed;
  const Duration half_time = half_recording->outputs()[0].finished->timing.attributed;
  const Duration full_time = attributed - first_time - half_time;
  // Each share is cut to whole nanoseconds.
  EXPECT_NEAR(Seconds(attributed), Seconds(clock.Now() - start), 1e-6);
  EXPECT_GT(half_time, Duration::zero());
  EXPECT_LT(2 * half_time, full_time) << "two full outputs cost more than two halves";
  if (GetParam() == 1) {
    EXPECT_NEAR(Seconds(attributed), Seconds(observer_.step_time), 1e-6);
  }
}

TEST_P(EngineTest, SharesStepsAmongSkipSetsAndChangesNoOutput) {
  StartEngine();
  gate_.Close();
  const char* const kSkips[] = {"none",     "attn:last=1", "attn:last=2",
                                "attn:0-3", "mlp:1",       "block:3"};
  std::vector<EngineRequest> requests;
  std::vector<std::shared_ptr<Recording>> recordings;
  for (int i = 0; i < 6; ++i) {
    requests.push_back(Request("r" + std::to_string(i), 5 + i, kSkips[i]));
    recordings.push_back(Submit(requests.back()));
  }
  gate_.Open();
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(recordings[i]->WaitDone().ok());
    EXPECT_EQ(recordings[i]->outputs()[0].Ids(), Expected(requests[i], 5 + i));
  }
  EXPECT_GE(observer_.most_sequences, 4);
}

TEST_P(EngineTest, RecomputesPreemptedSequencesToTheSameOutput) {
  StartEngine(/*num_pages=*/40);
  gate_.Close();
  std::vector<EngineRequest> requests;
  std::vector<std::shared_ptr<Recording>> recordings;
  for (int i = 0; i < 8; ++i) {
    requests.push_back(Request("r" + std::to_string(i), 30, i % 2 ? "none" : "attn:last=50%"));
    recordings.push_back(Submit(requests.back()));
  }
  gate_.Open();
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(recordings[i]->WaitDone().ok());
    EXPECT_EQ(recordings[i]->outputs()[0].Ids(), Expected(requests[i], 30));
  }
  EXPECT_GT(observer_.preemptions, 0);
  WaitWholePool();
}

TEST_P(EngineTest, StopsAtAStopTokenAndAtAStopString) {
  StartEngine();
  EngineRequest request = Request("a", 20);
  const std::vector<int32_t> expected = Expected(request, 20);
  request.stopping.stop_token_ids = {expected[6]};
  const int first = std::find(expected.begin(), expected.end(), expected[6]) - expected.begin();
  auto by_token = Submit(request);
  ASSERT_TRUE(by_token->WaitDone().ok());
  EXPECT_EQ(by_token->outputs()[0].finished->reason, FinishReason::kStop);
  EXPECT_EQ(by_token->outputs()[0].finished->stop_token, expected[6]);
  EXPECT_EQ(by_token->outputs()[0].finished->completion_tokens, first + 1);

  request.stopping.stop_token_ids.clear();
  request.stopping.stop_strings = {" " + std::to_string(expected[3]) + " " +
                                   std::to_string(expected[4])};
  auto by_text = Submit(request);
  ASSERT_TRUE(by_text->WaitDone().ok());
  const Recording::Output& output = by_text->outputs()[0];
  EXPECT_EQ(output.finished->reason, FinishReason::kStopString);
  EXPECT_EQ(output.finished->stop_string, request.stopping.stop_strings[0]);
  EXPECT_EQ(output.text.find(request.stopping.stop_strings[0]), std::string::npos);
  // Stored to the stop, whatever the engine ran beyond it.
  EXPECT_EQ(output.finished->kv_pages_used,
            kLayers * ((3 + output.finished->completion_tokens - 1 + 3) / 4));
  WaitWholePool();
}

TEST_P(EngineTest, EndsContextFullWithoutMaxTokens) {
  StartEngine();
  EngineRequest request = Request("a", 1);
  request.stopping.max_tokens.reset();
  auto recording = Submit(request);
  ASSERT_TRUE(recording->WaitDone().ok());
  EXPECT_EQ(recording->outputs()[0].finished->reason, FinishReason::kContextFull);
  EXPECT_EQ(recording->outputs()[0].finished->completion_tokens, 61);
}

TEST_P(EngineTest, EndsContextFullWhenThePoolIsTheLimit) {
  StartEngine(/*num_pages=*/20);  // 4 layers: 5 blocks, 20 stored tokens
  EngineRequest request = Request("a", 1);
  request.stopping.max_tokens.reset();
  auto recording = Submit(request);
  ASSERT_TRUE(recording->WaitDone().ok());
  EXPECT_EQ(recording->outputs()[0].finished->reason, FinishReason::kContextFull);
  EXPECT_EQ(recording->outputs()[0].finished->completion_tokens, 18);
}

TEST_P(EngineTest, GivesEveryOutputOfN) {
  StartEngine();
  EngineRequest request = Request("a", 4);
  request.n = 3;
  auto recording = Submit(request);
  ASSERT_TRUE(recording->WaitDone().ok());
  ASSERT_EQ(recording->outputs().size(), 3u);
  for (const Recording::Output& output : recording->outputs()) {
    EXPECT_EQ(output.Ids(), Expected(request, 4));
    EXPECT_TRUE(output.finished.has_value());
  }
}

TEST_P(EngineTest, ScoresGivenTokens) {
  StartEngine();
  EngineRequest request = Request("a", 1);
  request.prompt = {1, 2, 3, 4, 5, 6};
  request.score_from = 2;
  auto recording = Submit(request);
  ASSERT_TRUE(recording->WaitDone().ok());
  const Recording::Output& output = recording->outputs()[0];
  ASSERT_EQ(output.prompt_tokens.size(), 4u);
  for (int i = 0; i < 4; ++i) {
    const std::span<const int32_t> before(request.prompt.data(), 2 + i);
    EXPECT_EQ(output.prompt_tokens[i].token.id, request.prompt[2 + i]);
    EXPECT_EQ(output.prompt_tokens[i].token.logprob,
              FakeLogprob(before, request.skip, request.prompt[2 + i]));
  }
  EXPECT_TRUE(output.tokens.empty());
  EXPECT_EQ(output.finished->kv_pages_used, kLayers * 2);  // 5 stored tokens
}

TEST_P(EngineTest, DeliversPromptLogprobsOnce) {
  StartEngine(/*num_pages=*/24);
  gate_.Close();
  std::vector<std::shared_ptr<Recording>> recordings;
  for (int i = 0; i < 4; ++i) {
    EngineRequest request = Request("r" + std::to_string(i), 20);
    request.output.prompt_logprobs = 0;
    recordings.push_back(Submit(request));
  }
  gate_.Open();
  for (auto& recording : recordings) {
    ASSERT_TRUE(recording->WaitDone().ok());
    const auto& tokens = recording->outputs()[0].prompt_tokens;
    ASSERT_EQ(tokens.size(), 3u);
    EXPECT_FALSE(tokens[0].token.logprob.has_value());
    EXPECT_TRUE(tokens[1].token.logprob.has_value());
  }
  EXPECT_GT(observer_.preemptions, 0);
}

// Each output is complete by itself, whatever the others share with it.
TEST_P(EngineTest, DeliversPromptLogprobsToEveryOutput) {
  for (const int64_t pages : {1000, 60}) {
    observer_.preemptions = 0;
    StartEngine(pages);
    for (const size_t length : {1, 2, 3, 31}) {
      EngineRequest request = Request("a", 30);
      request.prompt.assign(length, 8);
      request.n = 3;
      request.output.prompt_logprobs = 0;
      auto recording = Submit(request);
      ASSERT_TRUE(recording->WaitDone().ok());
      ASSERT_EQ(recording->outputs().size(), 3u);
      for (const Recording::Output& output : recording->outputs()) {
        ASSERT_EQ(output.prompt_tokens.size(), length);
        EXPECT_FALSE(output.prompt_tokens[0].token.logprob.has_value());
        for (size_t i = 1; i < length; ++i) {
          const std::span before(request.prompt.data(), i);
          EXPECT_EQ(output.prompt_tokens[i].token.logprob, FakeLogprob(before, request.skip, 8));
        }
        for (const GeneratedToken& token : output.prompt_tokens) EXPECT_EQ(token.token.id, 8);
        EXPECT_EQ(output.tokens.size(), 30u);
      }
      EngineRequest unwanted = request;
      unwanted.output.prompt_logprobs = -1;
      auto silent = Submit(unwanted);
      ASSERT_TRUE(silent->WaitDone().ok());
      EXPECT_TRUE(silent->outputs()[0].prompt_tokens.empty());
    }
    EXPECT_EQ(observer_.preemptions > 0, pages < 1000);
  }
}

TEST_P(EngineTest, CancelFreesThePagesWithinTwoSteps) {
  StartEngine();
  gate_.CloseFrom(5);
  auto recording = Submit(Request("a", 60));
  recording->WaitTokens(2);
  gate_.WaitArrivals(5);
  EXPECT_TRUE(engine_->Cancel("a", Engine::CancelReason::kClientGone));
  const int before = gate_.arrivals();
  gate_.Open();
  EXPECT_TRUE(absl::IsCancelled(recording->WaitDone()));
  WaitWholePool();
  EXPECT_LE(gate_.arrivals(), before + 2);
  EXPECT_FALSE(engine_->Cancel("a", Engine::CancelReason::kClientGone));
  ASSERT_EQ(observer_.done.size(), 1u);
  EXPECT_EQ(observer_.done[0].outcome, Outcome::kCancelled);
}

TEST_P(EngineTest, AbortFinishesWithWhatThereIs) {
  StartEngine();
  auto recording = Submit(Request("a", 60));
  recording->WaitTokens(3);
  engine_->Cancel("a", Engine::CancelReason::kAbort);
  ASSERT_TRUE(recording->WaitDone().ok());
  const Recording::Output& output = recording->outputs()[0];
  if (output.finished->reason == FinishReason::kAborted) {
    EXPECT_GE(output.tokens.size(), 3u);
    EXPECT_EQ(observer_.done[0].outcome, Outcome::kAborted);
  } else {  // it ended before the abort came
    EXPECT_EQ(output.tokens.size(), 60u);
  }
}

TEST_P(EngineTest, PoolIsWholeAfterRandomCancellations) {
  StartEngine(/*num_pages=*/60);
  std::mt19937 random(7);
  std::vector<std::shared_ptr<Recording>> recordings;
  for (int i = 0; i < 500; ++i) {
    EngineRequest request =
        Request("r" + std::to_string(i), 1 + random() % 40, random() % 2 ? "none" : "attn:last=2");
    auto recording = std::make_shared<Recording>();
    while (!engine_->Submit(request, Recording::Sink(recording)).ok()) std::this_thread::yield();
    recordings.push_back(std::move(recording));
    if (random() % 3 == 0) recordings.back()->WaitTokens(random() % 4);
    engine_->Cancel("r" + std::to_string(random() % (i + 1)), Engine::CancelReason::kClientGone);
    engine_->Cancel(request.id, Engine::CancelReason::kClientGone);
  }
  for (auto& recording : recordings) {
    const absl::Status status = recording->WaitDone();
    EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
  }
  WaitWholePool();
  EXPECT_EQ(engine_->load().running, 0);
  EXPECT_EQ(engine_->load().waiting, 0);
}

TEST_P(EngineTest, HonoursDeadlinesInTheQueueAndWhileDecoding) {
  FakeClock& clock = clock_;
  StartEngine(1000, &clock);
  EngineRequest late = Request("late", 5);
  late.deadline = clock.Now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(Refusal(late)));

  gate_.Close();
  EngineRequest running = Request("running", 50);
  running.arrival = clock.Now();
  running.deadline = clock.Now() + std::chrono::seconds(1);
  auto recording = Submit(running);
  gate_.WaitArrivals(1);
  EngineRequest queued = Request("queued", 50);
  queued.arrival = clock.Now();
  queued.deadline = clock.Now() + std::chrono::seconds(1);
  auto waiting = Submit(queued);
  clock.Advance(std::chrono::seconds(2));
  gate_.Open();
  EXPECT_TRUE(absl::IsDeadlineExceeded(recording->WaitDone()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(waiting->WaitDone()));
  EXPECT_FALSE(waiting->accepted().has_value());
  EXPECT_EQ(observer_.done[0].outcome, Outcome::kDeadline);
  WaitWholePool();
}

TEST_P(EngineTest, TimeLimitGivesAPartialResult) {
  FakeClock& clock = clock_;
  StartEngine(1000, &clock);
  EngineRequest request = Request("a", 50);
  request.arrival = clock.Now();
  request.stopping.time_limit = std::chrono::seconds(1);
  gate_.Close();
  auto recording = Submit(request);
  gate_.WaitArrivals(1);
  clock.Advance(std::chrono::seconds(2));
  gate_.Open();
  ASSERT_TRUE(recording->WaitDone().ok());
  const Recording::Output& output = recording->outputs()[0];
  EXPECT_EQ(output.finished->reason, FinishReason::kTimeLimit);
  EXPECT_LT(output.tokens.size(), 50u);
  EXPECT_EQ(observer_.done[0].outcome, Outcome::kTimeLimit);
}

TEST_P(EngineTest, ARequestThatEndsInTheQueueIsAcceptedFirst) {
  gate_.Close();
  StartEngine(/*num_pages=*/8);  // of one request
  auto running = Submit(Request("running", 5));
  gate_.WaitArrivals(1);
  EngineRequest waits = Request("waits", 5);
  waits.n = 2;
  auto waiting = Submit(waits);
  EXPECT_TRUE(engine_->Cancel("waits", Engine::CancelReason::kAbort));
  gate_.Open();
  EXPECT_TRUE(waiting->WaitDone().ok());
  ASSERT_TRUE(waiting->accepted().has_value());
  EXPECT_EQ(waiting->accepted()->prompt_tokens, 3);
  EXPECT_EQ(waiting->accepted()->skip, waits.skip);
  for (const Recording::Output& output : waiting->outputs()) {
    EXPECT_EQ(output.finished->reason, FinishReason::kAborted);
    EXPECT_EQ(output.finished->kv_pages_used, 0);
  }
  EXPECT_TRUE(running->WaitDone().ok());
}

TEST_P(EngineTest, MoreOutputsThanTheQueueTakesCanNeverFit) {
  StartEngine(/*num_pages=*/1000, nullptr, /*max_queue=*/4);
  EngineRequest request = Request("a", 1);
  request.n = 5;
  const absl::Status status = Refusal(request);
  EXPECT_TRUE(IsNeverFits(status)) << status;
  EXPECT_NE(status.message().find("n is 5, 4 sequences may wait"), absl::string_view::npos);
  request.n = 4;
  EXPECT_TRUE(Submit(request)->WaitDone().ok());
}

TEST_P(EngineTest, RefusesWhatItCannotTake) {
  StartEngine(/*num_pages=*/20, nullptr, /*max_queue=*/2);
  gate_.Close();
  auto first = Submit(Request("a", 5));
  gate_.WaitArrivals(1);
  EXPECT_EQ(Refusal(Request("a", 5)).code(), absl::StatusCode::kAlreadyExists);
  EngineRequest empty = Request("b", 5);
  empty.prompt.clear();
  EXPECT_EQ(Refusal(empty).code(), absl::StatusCode::kInvalidArgument);
  EngineRequest out_of_range = Request("b", 5);
  out_of_range.prompt[1] = kVocab;
  EXPECT_THAT(Refusal(out_of_range).ToString(), testing::HasSubstr("token id 100 at index 1"));
  EngineRequest too_long = Request("b", 5);
  too_long.prompt.assign(64, 1);
  EXPECT_THAT(Refusal(too_long).ToString(), testing::HasSubstr("the limit is 63"));
  const absl::Status never = Refusal(Request("b", 40));
  EXPECT_TRUE(absl::IsResourceExhausted(never));
  EXPECT_TRUE(IsNeverFits(never));
  auto second = Submit(Request("c", 2));
  auto third = Submit(Request("d", 2));
  const absl::Status full = Refusal(Request("e", 2));
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  EXPECT_FALSE(IsNeverFits(full));
  gate_.Open();
  EXPECT_TRUE(first->WaitDone().ok());
  EXPECT_TRUE(second->WaitDone().ok());
  EXPECT_TRUE(third->WaitDone().ok());
  EXPECT_TRUE(Submit(Request("a", 2))->WaitDone().ok()) << "an id is free again after its end";
}

TEST_P(EngineTest, ACallKeepsItsIdUntilItsLastRequestHasCome) {
  StartEngine();
  EngineRequest item = Request("score", 1);
  item.call = 1;
  item.more_follow = true;
  EXPECT_TRUE(Submit(item)->WaitDone().ok());
  EngineRequest other = Request("score", 1);
  other.call = 2;
  EXPECT_TRUE(absl::IsAlreadyExists(Refusal(other)));
  EXPECT_FALSE(engine_->Cancel("score", Engine::CancelReason::kClientGone, 1)) << "none is live";
  EXPECT_TRUE(Submit(other)->WaitDone().ok());
  EXPECT_TRUE(engine_->Drain(kNever));
}

TEST_P(EngineTest, DrainLetsRunningRequestsEndAndRefusesNewOnes) {
  StartEngine();
  gate_.Close();
  auto recording = Submit(Request("a", 20));
  gate_.WaitArrivals(1);
  std::thread drain([&] { EXPECT_TRUE(engine_->Drain(kNever)); });
  while (Refusal(Request("b", 2)).code() != absl::StatusCode::kUnavailable) {
    std::this_thread::yield();
  }
  gate_.Open();
  EXPECT_TRUE(recording->WaitDone().ok());
  EXPECT_EQ(recording->outputs()[0].tokens.size(), 20u);
  drain.join();
}

TEST_P(EngineTest, DrainCutsWhatDoesNotEndInTime) {
  StartEngine();
  gate_.Close();
  auto recording = Submit(Request("a", 60));
  gate_.WaitArrivals(1);
  std::thread open([&] { gate_.Open(); });
  const bool ended = engine_->Drain(SystemClock().Now());
  open.join();
  const absl::Status status = recording->WaitDone();
  // It may end by itself just when it is cut.
  EXPECT_TRUE(status.ok() || (!ended && absl::IsUnavailable(status))) << status;
}

TEST_P(EngineTest, ADeviceErrorFailsEveryRequestAndTheHealth) {
  StartEngine();
  gate_.Close();
  auto running = Submit(Request("a", 20));
  gate_.WaitArrivals(1);
  runner_->FailSteps();
  gate_.Open();
  EXPECT_TRUE(absl::IsInternal(running->WaitDone()));
  EXPECT_TRUE(absl::IsInternal(engine_->health()));
  EXPECT_TRUE(absl::IsInternal(Refusal(Request("b", 2))));
  EXPECT_EQ(observer_.done[0].outcome, Outcome::kError);
}

TEST_P(EngineTest, AStalledStepShowsInTheHealth) {
  FakeClock& clock = clock_;
  StartEngine(1000, &clock);
  EXPECT_TRUE(engine_->health().ok());
  gate_.Close();
  EngineRequest request = Request("a", 3);
  request.arrival = clock.Now();
  auto recording = Submit(request);
  gate_.WaitArrivals(1);
  EXPECT_TRUE(engine_->health().ok());
  clock.Advance(std::chrono::seconds(11));
  EXPECT_TRUE(absl::IsUnavailable(engine_->health()));
  gate_.Open();
  EXPECT_TRUE(recording->WaitDone().ok());
}

INSTANTIATE_TEST_SUITE_P(StepsInFlight, EngineTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace skipstone
