#include "base/statistics/guardrail.h"

#include <cmath>
#include <vector>

#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

// False alarms of arms that keep their limits: false_alarms_test.cc.

Guardrail Make(const GuardrailOptions& options) {
  auto guardrail = Guardrail::Create(options);
  EXPECT_TRUE(guardrail.ok()) << guardrail.status();
  return *std::move(guardrail);
}

// Looks after each of up to `most` values; how many it took to the first verdict.
template <class Draw>
int ValuesToVerdict(Guardrail& guardrail, Verdict verdict, int most, Draw draw) {
  for (int n = 1; n <= most; ++n) {
    EXPECT_TRUE(draw(guardrail).ok());
    const Verdict now = guardrail.Look();
    if (now == verdict) return n;
    EXPECT_EQ(now, Verdict::kUndecided);
  }
  return most + 1;
}

TEST(GuardrailTest, AnArmOverItsLimitIsFound) {
  Inputs in(1);
  Guardrail kl = Make({.metric = GuardrailMetric::kMean, .limit = 0.05});
  EXPECT_LT(ValuesToVerdict(kl, Verdict::kBreached, 5000,
                            [&](Guardrail& g) { return g.Add(0.2 * in.Uniform()); }),
            300);
  EXPECT_NEAR(*kl.estimate(), 0.1, 0.02);
  Guardrail errors = Make({.metric = GuardrailMetric::kProportion, .limit = 0.01});
  EXPECT_LT(ValuesToVerdict(errors, Verdict::kBreached, 5000,
                            [&](Guardrail& g) { return g.Add(in.Uniform() < 0.05); }),
            600);
  Guardrail ttft = Make({.metric = GuardrailMetric::kQuantile, .quantile = 0.99, .limit = 0.25});
  EXPECT_LT(ValuesToVerdict(ttft, Verdict::kBreached, 5000,
                            [&](Guardrail& g) { return g.Add(in.Uniform() < 0.95 ? 0.1 : 0.3); }),
            600);
  EXPECT_NEAR(*ttft.estimate(), 0.05, 0.03);
  Guardrail cost = Make({.metric = GuardrailMetric::kRatio, .limit = 2});
  EXPECT_LT(ValuesToVerdict(cost, Verdict::kBreached, 5000,
                            [&](Guardrail& g) {
                              const double tokens = in.Whole(1, 50);
                              return g.Add(tokens * in.Uniform(2, 3), tokens);
                            }),
            300);
  EXPECT_NEAR(*cost.estimate(), 2.5, 0.1);
}

TEST(GuardrailTest, AnArmWithinItsLimitHolds) {
  Inputs in(2);
  Guardrail agreement =
      Make({.metric = GuardrailMetric::kProportion, .limit = 0.9, .is_lower = true, .minimum = 10});
  EXPECT_LT(ValuesToVerdict(agreement, Verdict::kHolds, 5000,
                            [&](Guardrail& g) { return g.Add(in.Uniform() < 0.99); }),
            400);
  Guardrail median = Make({.metric = GuardrailMetric::kQuantile, .quantile = 0.5, .limit = 0.6});
  EXPECT_LT(ValuesToVerdict(median, Verdict::kHolds, 5000,
                            [&](Guardrail& g) { return g.Add(in.Uniform()); }),
            2000);
  Guardrail mean = Make({.metric = GuardrailMetric::kMean, .limit = 0.6});
  EXPECT_LT(ValuesToVerdict(mean, Verdict::kHolds, 5000,
                            [&](Guardrail& g) { return g.Add(in.Uniform()); }),
            500);
}

TEST(GuardrailTest, ALowerLimitOfAQuantileLooksAtSmallValues) {
  Inputs in(3);
  const GuardrailOptions options = {
      .metric = GuardrailMetric::kQuantile, .quantile = 0.1, .limit = 0.2, .is_lower = true};
  Guardrail slow = Make(options);  // 10 % quantile of tokens per second: 0.1 here
  EXPECT_LT(ValuesToVerdict(slow, Verdict::kBreached, 5000,
                            [&](Guardrail& g) { return g.Add(in.Uniform()); }),
            1000);
  Guardrail fast = Make(options);
  EXPECT_LT(ValuesToVerdict(fast, Verdict::kHolds, 5000,
                            [&](Guardrail& g) { return g.Add(0.19 + in.Uniform()); }),
            1000);
}

TEST(GuardrailTest, NoVerdictBeforeTheMinimum) {
  Guardrail guardrail =
      Make({.metric = GuardrailMetric::kProportion, .limit = 0.01, .minimum = 500});
  for (int i = 0; i < 499; ++i) {
    ASSERT_TRUE(guardrail.Add(1).ok());
    ASSERT_EQ(guardrail.Look(), Verdict::kUndecided);
  }
  ASSERT_TRUE(guardrail.Add(1).ok());
  EXPECT_EQ(guardrail.Look(), Verdict::kBreached);
}

TEST(GuardrailTest, ABreachStays) {
  Guardrail guardrail = Make({.metric = GuardrailMetric::kProportion, .limit = 0.01});
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(guardrail.Add(i % 4 == 0).ok());
  ASSERT_EQ(guardrail.Look(), Verdict::kBreached);
  for (int i = 0; i < 100'000; ++i) ASSERT_TRUE(guardrail.Add(0).ok());
  EXPECT_EQ(guardrail.Look(), Verdict::kBreached);
}

TEST(GuardrailTest, ASecondLookAtTheSameValuesSaysTheSame) {
  Guardrail guardrail = Make({.metric = GuardrailMetric::kMean, .limit = 0.5});
  Inputs in(4);
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(guardrail.Add(in.Uniform()).ok());
  const Verdict verdict = guardrail.Look();
  const double p_value = guardrail.state().p_value;
  EXPECT_EQ(guardrail.Look(), verdict);
  EXPECT_EQ(guardrail.state().p_value, p_value);
}

TEST(GuardrailTest, IsTheSameAfterARestart) {
  const GuardrailOptions options = {.metric = GuardrailMetric::kRatio, .limit = 1};
  Guardrail whole = Make(options);
  Guardrail before = Make(options);
  Inputs in(5);
  for (int i = 0; i < 300; ++i) {
    if (i == 150) {
      auto restored = Guardrail::Restore(options, before.state());
      ASSERT_TRUE(restored.ok());
      before = *restored;
    }
    const double tokens = in.Whole(1, 9);
    const double cost = tokens * in.Uniform(0.9, 1.2);
    for (Guardrail* g : {&whole, &before}) {
      ASSERT_TRUE(g->Add(cost, tokens).ok());
      g->Look();
    }
    ASSERT_EQ(whole.state().p_value, before.state().p_value);
  }
  EXPECT_LT(whole.state().p_value, 0.05);
}

TEST(GuardrailTest, ReplicasTogetherSeeAllValues) {
  const GuardrailOptions options = {.metric = GuardrailMetric::kProportion, .limit = 0.02};
  Guardrail whole = Make(options), a = Make(options), b = Make(options);
  for (int i = 0; i < 150; ++i) {
    for (Guardrail* g : {&whole, i % 2 ? &a : &b}) ASSERT_TRUE(g->Add(i % 10 == 0).ok());
  }
  ASSERT_TRUE(a.Merge(b.state()).ok());
  EXPECT_EQ(a.Look(), whole.Look());
  EXPECT_TRUE(IsNear(a.state().p_value, whole.state().p_value, 1e-12));
}

TEST(GuardrailTest, EqualValuesDecideNothing) {
  // The full model's KL is 0 throughout: no variance, no test, and no harm.
  Guardrail guardrail = Make({.metric = GuardrailMetric::kMean, .limit = 0.05});
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(guardrail.Add(0).ok());
  EXPECT_EQ(guardrail.Look(), Verdict::kUndecided);
  EXPECT_EQ(guardrail.estimate(), 0);
}

TEST(GuardrailTest, BadValuesDoNotCount) {
  Guardrail ratio = Make({.metric = GuardrailMetric::kRatio, .limit = 1});
  EXPECT_FALSE(ratio.estimate().has_value());
  for (const auto& [value, denominator] : std::vector<std::pair<double, double>>{
           {NAN, 1}, {INFINITY, 1}, {1, NAN}, {1, INFINITY}, {1, -1}}) {
    EXPECT_EQ(ratio.Add(value, denominator).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(ratio.state().moments.n, 0);
  EXPECT_TRUE(ratio.Add(1, 0).ok());
  EXPECT_FALSE(ratio.estimate().has_value());
  Guardrail share = Make({.metric = GuardrailMetric::kProportion, .limit = 0.1});
  EXPECT_EQ(share.Add(0.5).code(), absl::StatusCode::kInvalidArgument);
}

TEST(GuardrailTest, BadOptionsAreRefused) {
  for (const GuardrailOptions& options :
       {GuardrailOptions{.limit = NAN}, GuardrailOptions{.limit = INFINITY},
        GuardrailOptions{.metric = GuardrailMetric::kProportion, .limit = 1},
        GuardrailOptions{.metric = GuardrailMetric::kProportion, .limit = 0},
        GuardrailOptions{.metric = GuardrailMetric::kQuantile, .quantile = 1},
        GuardrailOptions{.metric = GuardrailMetric::kQuantile, .quantile = NAN},
        GuardrailOptions{.minimum = 1}, GuardrailOptions{.alpha = 0.5},
        GuardrailOptions{.alpha = NAN}, GuardrailOptions{.tuning = 0}}) {
    EXPECT_EQ(Guardrail::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(GuardrailTest, TornStatesAreRefused) {
  const GuardrailOptions options = {.metric = GuardrailMetric::kProportion, .limit = 0.1};
  GuardrailState good;
  good.moments.Add({1, 1});
  EXPECT_TRUE(Guardrail::Restore(options, good).ok());
  const auto expect_refused = [&](auto spoil) {
    GuardrailState bad = good;
    spoil(bad);
    EXPECT_EQ(Guardrail::Restore(options, bad).status().code(), absl::StatusCode::kInvalidArgument);
    Guardrail guardrail = Make(options);
    EXPECT_EQ(guardrail.Merge(bad).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(guardrail.state().moments.n, 0);
  };
  expect_refused([](GuardrailState& s) { s.moments.n = -1; });
  expect_refused([](GuardrailState& s) { s.moments.mean[0] = 2; });
  expect_refused([](GuardrailState& s) { s.moments.mean[1] = NAN; });
  expect_refused([](GuardrailState& s) { s.moments.comoment[0] = -1; });
  expect_refused([](GuardrailState& s) { s.p_value = 1.5; });
  expect_refused([](GuardrailState& s) { s.p_value = NAN; });
}

}  // namespace
}  // namespace skipstone::statistics
