// What the engine does about load: brown-out at admission, shedding instead of preemption, fair
// shares, and a bound on what prefill adds to the steps of others.
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_engine.h"
#include "tests/support/gate.h"

namespace skipstone {
namespace {

SkipSet Skip(const char* text) { return *ParseSkipSet(text, FakeEngine::kLayers); }

// What must be drawn when the sets of `applied` come into force one after the other.
std::vector<int32_t> Expected(const EngineRequest& request, SkipSet skip,
                              const std::vector<AppliedRange>& applied) {
  std::vector<int32_t> tokens = request.prompt;
  for (int i = 0; i < *request.stopping.max_tokens; ++i) {
    for (const AppliedRange& range : applied) {
      if (range.from_token <= i) skip = range.skip;
    }
    tokens.push_back(FakeToken(tokens, skip, FakeEngine::kVocab));
  }
  return {tokens.begin() + request.prompt.size(), tokens.end()};
}

class LoadAdaptiveTest : public testing::TestWithParam<int> {  // steps in flight
 protected:
  FakeRunnerOptions Runner() {
    return {.max_in_flight = GetParam(), .on_launch = [this](const StepPlan&) { gate_.Pass(); }};
  }
  // A running request whose first step the gate holds.
  std::shared_ptr<Recording> SubmitHeld(FakeEngine& engine, const EngineRequest& request) {
    gate_.Close();
    auto recording = engine.Submit(request);
    gate_.WaitArrivals(1);
    return recording;
  }

  Gate gate_;
  FakeClock clock_;
};

TEST_P(LoadAdaptiveTest, StartsAtTheCeilingWhileTheQueueIsAboveItsMark) {
  EngineOptions options = FakeEngine::Options();
  options.limits.max_queue = 20;
  options.brownout_queue = 0.25;  // more than 5 waiting sequences
  FakeEngine engine(options, Runner());
  auto held = SubmitHeld(engine, engine.Request("held", 3, 4));
  std::vector<EngineRequest> requests;
  std::vector<std::shared_ptr<Recording>> recordings;
  for (int i = 0; i < 10; ++i) {
    EngineRequest request = engine.Request(std::to_string(i), 9, 4, "attn:3");
    if (i != 8) request.ceiling = Skip("attn:1-3");
    if (i == 7) request.n = 3;
    requests.push_back(request);
    recordings.push_back(engine.Submit(request));
    ASSERT_NE(recordings.back(), nullptr);
  }
  gate_.Open();
  ASSERT_TRUE(held->WaitDone().ok());
  for (int i = 0; i < 10; ++i) {
    SCOPED_TRACE(i);
    ASSERT_TRUE(recordings[i]->WaitDone().ok());
    const bool above = i > 5 && i != 8;  // behind six others
    const SkipSet& starts_with = above ? *requests[i].ceiling : requests[i].skip;
    EXPECT_EQ(recordings[i]->accepted()->skip, starts_with);
    ASSERT_EQ(std::ssize(recordings[i]->outputs()), requests[i].n);
    for (const Recording::Output& output : recordings[i]->outputs()) {
      EXPECT_EQ(output.Ids(), Expected(requests[i], starts_with, {}));
      EXPECT_EQ(output.finished->kv_pages_used, starts_with.KeptAttention() * 3);
      EXPECT_TRUE(output.finished->applied.empty());
    }
  }
  const auto done = engine.observer.done();
  EXPECT_EQ(std::ranges::count_if(done, &RequestObservation::browned_out), 3);
  // The queue is empty again.
  EngineRequest later = engine.Request("later", 3, 2);
  later.ceiling = Skip("attn:1-3");
  auto recording = engine.Submit(later);
  ASSERT_TRUE(recording->WaitDone().ok());
  EXPECT_EQ(recording->accepted()->skip, later.skip);
}

TEST_P(LoadAdaptiveTest, StartsAtTheCeilingWhileThePagesAreAboveTheirMark) {
  EngineOptions options = FakeEngine::Options();
  options.scheduler.num_pages = 100;
  options.scheduler.brownout_pages = 0.1;
  FakeEngine engine(options, Runner());
  auto held = SubmitHeld(engine, engine.Request("held", 13, 4));  // 16 pages
  EngineRequest request = engine.Request("a", 3, 2);
  request.ceiling = Skip("attn:0-3");
  auto recording = engine.Submit(request);
  gate_.Open();
  ASSERT_TRUE(held->WaitDone().ok());
  ASSERT_TRUE(recording->WaitDone().ok());
  EXPECT_EQ(recording->accepted()->skip, *request.ceiling);
}

TEST_P(LoadAdaptiveTest, ShedsLayersWhereItWouldHavePreempted) {
  for (const bool may_shed : {false, true}) {
    EngineOptions options = FakeEngine::Options();
    options.scheduler.num_pages = 40;
    FakeEngine engine(options, Runner());
    gate_.Close();
    std::vector<EngineRequest> requests;
    std::vector<std::shared_ptr<Recording>> recordings;
    for (const char* id : {"older", "younger"}) {
      EngineRequest request = engine.Request(id, 8, 25);  // 32 stored tokens: 32 pages each
      if (may_shed) request.ceiling = Skip("attn:1-3+mlp:0");
      requests.push_back(request);
      recordings.push_back(engine.Submit(request));
    }
    gate_.Open();
    int ranges = 0;
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(recordings[i]->WaitDone().ok());
      const Recording::Output& output = recordings[i]->outputs()[0];
      const auto& applied = output.finished->applied;
      EXPECT_EQ(output.Ids(), Expected(requests[i], requests[i].skip, applied));
      const SkipSet& last = applied.empty() ? requests[i].skip : applied.back().skip;
      EXPECT_EQ(output.finished->kv_pages_used, 8 * last.KeptAttention());
      EXPECT_EQ(output.finished->kv_pages_omitted, 8 * last.SkippedAttention());
      for (size_t r = 0; r < applied.size(); ++r) {
        EXPECT_TRUE(r == 0 ? applied[r].from_token == 0
                           : applied[r].skip.Contains(applied[r - 1].skip));
        EXPECT_EQ(applied[r].skip.SkippedMlp(), 0) << "only attention is shed";
      }
      ranges += static_cast<int>(applied.size());
    }
    const StepObservation steps = engine.observer.steps();
    EXPECT_EQ(steps.preemptions > 0, !may_shed);
    EXPECT_EQ(steps.shed_layers > 0, may_shed);
    EXPECT_EQ(steps.shed_pages > 0, may_shed);
    EXPECT_EQ(ranges >= 2, may_shed);
    EXPECT_TRUE(engine.WaitIdle());
  }
}

// The order in which requests of two tenants start, when one comes with all of its before the
// other.
std::string StartOrder(bool fair_share, int in_flight, Gate& gate) {
  std::vector<SequenceId> started;
  EngineOptions options = FakeEngine::Options();
  options.scheduler.max_sequences = 1;
  options.scheduler.fair_share = fair_share;
  FakeEngine engine(options, {.max_in_flight = in_flight, .on_launch = [&](const StepPlan& plan) {
                                started.insert(started.end(), plan.started.begin(),
                                               plan.started.end());
                                gate.Pass();
                              }});
  gate.Close();
  const int before = gate.arrivals();
  std::vector<std::shared_ptr<Recording>> recordings;
  std::string tenants;
  for (int i = 0; i < 10; ++i) {
    EngineRequest request = engine.Request(std::to_string(i), 3, 5);
    request.tenant = i < 5 ? "a" : "b";
    tenants += request.tenant;
    recordings.push_back(engine.Submit(request));
    if (i == 0) gate.WaitArrivals(before + 1);
  }
  gate.Open();
  for (auto& recording : recordings) EXPECT_TRUE(recording->WaitDone().ok());
  EXPECT_TRUE(engine.WaitIdle());
  std::string order;
  for (const SequenceId id : started) order += tenants[id - 1];
  return order;
}

TEST_P(LoadAdaptiveTest, TenantsTakeTurnsIfSharesAreFair) {
  EXPECT_EQ(StartOrder(/*fair_share=*/false, GetParam(), gate_), "aaaaabbbbb");
  // The other tenant joins while the first one's prompt is all that was served.
  EXPECT_EQ(StartOrder(/*fair_share=*/true, GetParam(), gate_), "ababababab");
}

// Prefill work of the steps in which a stream decodes, while long prompts come in, with steps that
// take 10 ms and 1 ms for each row.
std::vector<double> MixedSteps(Duration bound, FakeClock& clock) {
  std::vector<double> added_ms;
  EngineOptions options = FakeEngine::Options();
  options.scheduler.max_batch_tokens = 256;
  options.scheduler.num_pages = 10'000;
  options.limits.max_context = 2048;
  options.scheduler.itl_bound = bound;
  Gate gate;
  gate.CloseFrom(6);  // a few steps without prefill come first
  FakeRunnerOptions runner;
  runner.on_launch = [&](const StepPlan& plan) {
    gate.Pass();
    clock.Advance(std::chrono::milliseconds(10 + plan.num_rows));
    if (plan.decode_rows == 0 || plan.prefill_work == 0) return;
    added_ms.push_back(plan.num_rows - plan.decode_rows);
  };
  FakeEngine engine(options, runner, &clock);
  auto stream = engine.Submit(engine.Request("stream", 3, 600));
  gate.WaitArrivals(6);
  std::vector<std::shared_ptr<Recording>> prompts;
  for (int i = 0; i < 4; ++i) {
    prompts.push_back(engine.Submit(engine.Request("long" + std::to_string(i), 500, 1)));
  }
  gate.Open();
  for (auto& prompt : prompts) EXPECT_TRUE(prompt->WaitDone().ok());
  engine->Cancel("stream", Engine::CancelReason::kClientGone);
  EXPECT_FALSE(stream->WaitDone().ok());
  EXPECT_TRUE(engine.WaitIdle());
  return added_ms;
}

TEST(ItlBoundTest, ALongPromptAddsNoMoreThanTheBoundToTheStepsOfAStream) {
  FakeClock clock;
  constexpr int kBoundMs = 40;
  std::vector<double> added = MixedSteps(std::chrono::milliseconds(kBoundMs), clock);
  ASSERT_GT(added.size(), 10u);
  added.erase(added.begin(), added.begin() + 3);  // nothing was measured yet
  EXPECT_LE(*std::ranges::max_element(added), 1.2 * kBoundMs);
  EXPECT_GE(*std::ranges::max_element(added), 0.8 * kBoundMs) << "and it makes use of it";
}

TEST(ItlBoundTest, WithoutABoundAPromptFillsTheStep) {
  FakeClock clock;
  const std::vector<double> added = MixedSteps({}, clock);
  ASSERT_FALSE(added.empty());
  EXPECT_EQ(*std::ranges::max_element(added), 255);
}

INSTANTIATE_TEST_SUITE_P(StepsInFlight, LoadAdaptiveTest, testing::Values(1, 2),
                         [](const testing::TestParamInfo<int>& info) {
                           return info.param == 1 ? "One" : "Two";
                         });

}  // namespace
}  // namespace skipstone
