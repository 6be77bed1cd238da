#include "base/experiment/arm_guardrail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace skipstone::experiment {
namespace {

using statistics::Verdict;

ArmGuardrail Made(const GuardrailSpec& spec, Design design = Design::kMixed) {
  auto made = ArmGuardrail::Make(spec, design);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

ExposureRecord Shadowed(double kl, int64_t agrees) {
  ExposureRecord record{.outcome = "ok"};
  record.shadow = ShadowResult();
  record.shadow->sums.tokens = 10;
  record.shadow->sums.kl = 10 * kl;
  record.shadow->sums.agrees = agrees;
  return record;
}

TEST(ArmGuardrailTest, KlAboveItsLimitIsABreach) {
  ArmGuardrail holds = Made({.metric = "kl", .limit = 0.2});
  ArmGuardrail breaks = Made({.metric = "kl", .limit = 0.2});
  for (int i = 0; i < 400; ++i) {
    holds.Take(Shadowed(0.1 + 0.05 * (i % 3), 8), {});
    breaks.Take(Shadowed(0.3 + 0.05 * (i % 3), 8), {});
    if (i == 50) {
      EXPECT_EQ(breaks.Look(), Verdict::kUndecided) << "too few";
    }
  }
  EXPECT_EQ(holds.Look(), Verdict::kHolds);
  EXPECT_EQ(breaks.Look(), Verdict::kBreached);
  EXPECT_NEAR(*breaks.estimate(), 0.35, 1e-3);
}

TEST(ArmGuardrailTest, RequestsWithoutAShadowSayNothingOfQuality) {
  ArmGuardrail kl = Made({.metric = "kl", .limit = 0.2});
  for (int i = 0; i < 400; ++i) kl.Take({.outcome = "ok"}, {});
  EXPECT_FALSE(kl.estimate());
  EXPECT_EQ(kl.Look(), Verdict::kUndecided);
}

TEST(ArmGuardrailTest, AgreementHasALeastValue) {
  ArmGuardrail breaks = Made({.metric = "agreement", .limit = 0.8, .is_lower = true});
  for (int i = 0; i < 400; ++i) breaks.Take(Shadowed(0.1, 6 + i % 2), {});
  EXPECT_EQ(breaks.Look(), Verdict::kBreached);
}

TEST(ArmGuardrailTest, ErrorsAndDeadlinesCountAsErrors) {
  ArmGuardrail errors = Made({.metric = "error_rate", .limit = 0.01});
  const char* outcomes[] = {"ok", "ok", "ok", "cancelled", "aborted", "error", "deadline", "ok"};
  for (int i = 0; i < 400; ++i) errors.Take({.outcome = outcomes[i % 8]}, {});
  EXPECT_NEAR(*errors.estimate(), 0.25, 1e-9);
  EXPECT_EQ(errors.Look(), Verdict::kBreached);
}

TEST(ArmGuardrailTest, CostIsATokens) {
  ArmGuardrail cost = Made({.metric = "attributed_per_token", .limit = 0.02});
  for (int i = 0; i < 400; ++i) {
    cost.Take({.outcome = "ok", .attributed_s = 0.3 + 0.01 * (i % 5), .generated_tokens = 10}, {});
  }
  cost.Take({.outcome = "ok", .attributed_s = 99, .generated_tokens = 0}, {});
  EXPECT_NEAR(*cost.estimate(), 0.032, 1e-6);
  EXPECT_EQ(cost.Look(), Verdict::kBreached);
}

ExposureWindow Window(int64_t index, bool counted = true, int64_t ended = -1) {
  return {
      .index = index, .ended_index = ended < 0 ? index : ended, .seconds = 60, .counted = counted};
}

TEST(ArmGuardrailTest, LatenciesAreJudgedByWindows) {
  ArmGuardrail slow =
      Made({.metric = "ttft_p90", .limit = 0.25, .minimum = 20}, Design::kSwitchback);
  ArmGuardrail fast =
      Made({.metric = "itl_p90", .limit = 0.25, .minimum = 20}, Design::kSwitchback);
  for (int window = 0; window < 200; ++window) {
    for (int i = 0; i < 20; ++i) {
      // A fifth or a quarter of the requests is beyond the limit, where a tenth may be.
      const double seconds = i % (window % 2 == 0 ? 4 : 5) == 0 ? 0.3 : 0.1;
      const ExposureRecord record{.outcome = "ok", .ttft_s = seconds, .itl_mean_s = 0.1};
      slow.Take(record, {.window = Window(window)});
      fast.Take(record, {.window = Window(window)});
      // Of washouts, and those that ran into another arm's window: not counted.
      const ExposureRecord other{.outcome = "ok", .ttft_s = 9, .itl_mean_s = 9};
      fast.Take(other, {.window = Window(window, false)});
      fast.Take(other, {.window = Window(window, true, window + 1)});
    }
  }
  EXPECT_EQ(slow.Look(), Verdict::kBreached);
  EXPECT_NEAR(*slow.estimate(), 0.225, 1e-3);
  EXPECT_NE(fast.Look(), Verdict::kBreached);
  EXPECT_EQ(*fast.estimate(), 0);
}

TEST(ArmGuardrailTest, GoesOnAfterARestart) {
  ArmGuardrail first = Made({.metric = "kl", .limit = 0.2});
  for (int i = 0; i < 300; ++i) first.Take(Shadowed(0.3 + 0.05 * (i % 3), 8), {});
  ArmGuardrail second = Made({.metric = "kl", .limit = 0.2});
  ASSERT_TRUE(second.Restore(first.state()).ok());
  EXPECT_EQ(*second.estimate(), *first.estimate());
  EXPECT_EQ(second.Look(), Verdict::kBreached);
  statistics::GuardrailState broken = first.state();
  broken.p_value = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(second.Restore(broken).ok());
  EXPECT_EQ(*second.estimate(), *first.estimate());
}

TEST(ArmGuardrailTest, WrongSpecsSayWhatIsWrong) {
  const auto error = [](const GuardrailSpec& spec, Design design = Design::kMixed) {
    const auto made = ArmGuardrail::Make(spec, design);
    EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument) << spec.metric;
    return std::string(made.status().message());
  };
  EXPECT_THAT(error({.metric = "perplexity", .limit = 1}), testing::HasSubstr("'perplexity'"));
  EXPECT_THAT(error({.metric = "ttft_p99", .limit = 1}), testing::HasSubstr("share steps"));
  for (const char* metric : {"ttft_p", "ttft_p0", "ttft_p100", "ttft_px", "ttft", "itl_99"}) {
    error({.metric = metric, .limit = 1}, Design::kSwitchback);
  }
  error({.metric = "itl_p99", .limit = 0}, Design::kSwitchback);
  error({.metric = "error_rate", .limit = 1});
  error({.metric = "kl", .limit = std::numeric_limits<double>::infinity()});
  error({.metric = "kl", .limit = 1, .minimum = 1});
  error({.metric = "kl", .limit = 1, .alpha = 0.5});
}

}  // namespace
}  // namespace skipstone::experiment
