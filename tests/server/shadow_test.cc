#include "server/shadow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "tests/support/fake_engine.h"
#include "tests/support/metrics_text.h"

namespace skipstone::server {
namespace {

TEST(IsShadowedTest, AFixedShareOfAllIds) {
  int picked = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string id = "request-" + std::to_string(i);
    picked += IsShadowed(id, 0.05);
    EXPECT_EQ(IsShadowed(id, 0.05), IsShadowed(id, 0.05));
    EXPECT_FALSE(IsShadowed(id, 0));
    EXPECT_TRUE(IsShadowed(id, 1));
    EXPECT_TRUE(!IsShadowed(id, 0.05) || IsShadowed(id, 0.1)) << "a ramp keeps those it had";
  }
  EXPECT_NEAR(picked, 1000, 150);
}

class ServedTokensTest : public testing::Test {
 protected:
  EngineRequest Request(const char* skip) {
    EngineRequest request{.id = "r", .prompt = {5, 6, 7}, .skip = *ParseSkipSet(skip, 4)};
    request.labels = {.level = "half", .arm = "e/b"};
    return request;
  }
  // Three tokens of the first output, and one of another.
  static void Serve(ServedTokens& served, const SkipSet& accepted) {
    served.OnAccepted({.skip = accepted});
    served.OnDelta({.index = 0, .tokens = {{.token = {.id = 8}}, {.token = {.id = 9}}}});
    served.OnDelta({.index = 1, .tokens = {{.token = {.id = 1}}}});
    served.OnDelta({.index = 0, .tokens = {{.token = {.id = 10}}}});
  }
  std::optional<ShadowResult> Score(ServedTokens served) {
    Mutex mutex;
    CondVar called;
    bool done = false;
    std::optional<ShadowResult> got;
    std::move(served).Score(*engine_.operator->(), metrics_, [&](const auto& result) {
      MutexLock lock(mutex);
      got = result;
      done = true;
      called.NotifyAll();
    });
    MutexLock lock(mutex);
    while (!done) called.Wait(mutex);
    return got;
  }
  double Metric(const std::string& name, const std::vector<std::string>& labels = {}) {
    return SumOfSamples(metrics_.Text(), "skipstone_" + name, labels);
  }

  FakeEngine engine_{FakeEngine::Options()};
  Metrics metrics_{"fake", {}};
};

TEST_F(ServedTokensTest, WhatTheFirstOutputServedIsScored) {
  ServedTokens served(Request("attn:last=50%"));
  Serve(served, *ParseSkipSet("attn:last=50%", 4));
  served.OnFinished({.index = 0});
  const auto result = Score(std::move(served));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->tokens.size(), 3);
  EXPECT_NEAR(result->full_nll,
              -FakeLogprob(std::vector<int32_t>{5, 6, 7}, SkipSet(4), 8) -
                  FakeLogprob(std::vector<int32_t>{5, 6, 7, 8}, SkipSet(4), 9) -
                  FakeLogprob(std::vector<int32_t>{5, 6, 7, 8, 9}, SkipSet(4), 10),
              1e-5);
  const std::vector<std::string> labels = {"skip_level=\"half\"", "arm=\"e/b\""};
  EXPECT_EQ(Metric("shadow_tokens_total", labels), 3);
  EXPECT_EQ(Metric("shadow_kl_nats_sum", labels), 3 * 0.5);
  EXPECT_EQ(Metric("shadow_kl_nats_count", {"position=\"1-16\""}), 3);
  EXPECT_EQ(Metric("shadow_agreement_ratio_count", labels), 1);
  EXPECT_EQ(Metric("shadow_dropped_total"), 0);
}

TEST_F(ServedTokensTest, TheFullModelIsExactlyItself) {
  ServedTokens served(Request("none"));
  Serve(served, SkipSet(4));
  ASSERT_TRUE(Score(std::move(served)));
  EXPECT_EQ(Metric("shadow_kl_nats_sum"), 0);
  EXPECT_EQ(Metric("shadow_kl_nats_count"), 3);
  EXPECT_EQ(Metric("shadow_agreement_ratio_sum"), 1);
}

TEST_F(ServedTokensTest, ASetThatLoadEnlargedIsNotScored) {
  ServedTokens browned_out(Request("none"));
  Serve(browned_out, *ParseSkipSet("attn:3", 4));
  EXPECT_FALSE(Score(std::move(browned_out)));
  ServedTokens shed(Request("none"));
  Serve(shed, SkipSet(4));
  shed.OnFinished({.index = 0, .applied = {{.from_token = 1, .skip = *ParseSkipSet("attn:3", 4)}}});
  EXPECT_FALSE(Score(std::move(shed)));
  EXPECT_EQ(Metric("shadow_dropped_total", {"reason=\"enlarged\""}), 2);
  EXPECT_EQ(Metric("shadow_dropped_total", {"reason=\"load\""}), 0);
}

TEST_F(ServedTokensTest, NothingServedIsNothingToScore) {
  ServedTokens served(Request("none"));
  served.OnAccepted({.skip = SkipSet(4)});
  EXPECT_FALSE(Score(std::move(served)));
  EXPECT_EQ(Metric("shadow_dropped_total"), 0);
}

TEST_F(ServedTokensTest, WhatTheEngineDropsIsCounted) {
  engine_->Drain(kNever);
  ServedTokens served(Request("none"));
  Serve(served, SkipSet(4));
  EXPECT_FALSE(Score(std::move(served)));
  EXPECT_EQ(Metric("shadow_dropped_total", {"reason=\"load\""}), 1);
}

}  // namespace
}  // namespace skipstone::server
