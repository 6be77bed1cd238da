#include "client/cli/sweep_report.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using quality::Interval;
using quality::LevelReport;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

// A plan of the full model and one level.
SweepPlan Plan() {
  SweepPlan plan;
  plan.model.set_model_name("tiny");
  plan.settings.speed_runs = 0;
  plan.skips = {{.name = "full", .spec = "none"}, {.name = "half", .spec = "attn:2-3"}};
  return plan;
}

TextResult Window(double nll, std::vector<uint32_t> likeliest) {
  TextResult result{.likeliest = std::move(likeliest)};
  result.sums.tokens = static_cast<int64_t>(result.likeliest.size());
  result.sums.nll = nll;
  result.sums.brier = 0.25 * nll;
  return result;
}

TEST(SweepReportTest, TextGivesPerplexityLossAndAgreement) {
  SweepPlan plan = Plan();
  plan.windows.resize(2);
  const SweepResults results = {{{SweepTask::kText, 0, 0}, Window(4, {1, 2, 3, 4})},
                                {{SweepTask::kText, 1, 0}, Window(8, {5, 6, 7, 8})},
                                {{SweepTask::kText, 0, 1}, Window(6, {1, 2, 9, 4})},
                                {{SweepTask::kText, 1, 1}, Window(10, {5, 0, 0, 8})}};
  const LevelReport report = MakeSweepReport(plan, results);
  ASSERT_EQ(report.rows.size(), 2);
  const auto& half = report.rows[1];
  EXPECT_EQ(half.name, "half");
  EXPECT_EQ(half.skip, "attn:2-3");
  EXPECT_DOUBLE_EQ(half.perplexity->value, std::exp(2));
  EXPECT_DOUBLE_EQ(half.perplexity->low, std::exp(1.5));
  EXPECT_DOUBLE_EQ(half.perplexity->high, std::exp(2.5));
  // Both windows lose as much: in pairs that is sure.
  EXPECT_EQ(half.nll_change, (Interval{0.5, 0.5, 0.5}));
  EXPECT_EQ(half.agreement, (Interval{5.0 / 8, 0.5, 0.75}));
  EXPECT_EQ(half.brier, 0.5);
  EXPECT_FALSE(half.kl);
  EXPECT_EQ(report.rows[0].nll_change, (Interval{0, 0, 0}));
  EXPECT_EQ(report.rows[0].agreement, (Interval{1, 1, 1}));
  EXPECT_THAT(report.notes, Contains(HasSubstr("KL")));
}

TEST(SweepReportTest, ChoicesGiveAccuraciesAndTheirChange) {
  SweepPlan plan = Plan();
  plan.files.choices = {{1, "q", {"", ""}, {3, 4}, 0}, {2, "q", {"", ""}, {2, 2}, 1}};
  const SweepResults results = {{{SweepTask::kChoices, 0, 0}, ChoicesResult{{-3, -4.2}}},
                                {{SweepTask::kChoices, 1, 0}, ChoicesResult{{-2, -1}}},
                                {{SweepTask::kChoices, 0, 1}, ChoicesResult{{-3, -3.5}}},
                                {{SweepTask::kChoices, 1, 1}, ChoicesResult{{-2, -1}}}};
  const LevelReport report = MakeSweepReport(plan, results);
  EXPECT_EQ(report.rows[0].accuracy, 1);
  EXPECT_EQ(report.rows[0].accuracy_norm, 1);
  EXPECT_EQ(report.rows[0].choice, (Interval{0, 0, 0}));
  EXPECT_EQ(report.rows[1].accuracy, 1);
  EXPECT_EQ(report.rows[1].accuracy_norm, 0.5);
  EXPECT_EQ(report.rows[1].choice, (Interval{-0.5, -1, 0}));
}

TEST(SweepReportTest, LastWordsGiveHitsPerplexityAndTheirChange) {
  SweepPlan plan = Plan();
  plan.files.last_words.resize(2);
  const SweepResults results = {{{SweepTask::kLastWords, 0, 0}, LastWordResult{-1, true}},
                                {{SweepTask::kLastWords, 1, 0}, LastWordResult{-1, true}},
                                {{SweepTask::kLastWords, 0, 1}, LastWordResult{-1, true}},
                                {{SweepTask::kLastWords, 1, 1}, LastWordResult{-5, false}}};
  const LevelReport report = MakeSweepReport(plan, results);
  EXPECT_EQ(report.rows[1].last_words, 0.5);
  EXPECT_DOUBLE_EQ(*report.rows[1].last_word_perplexity, std::exp(3));
  EXPECT_EQ(report.rows[1].recall, (Interval{-0.5, -1, 0}));
  EXPECT_EQ(report.rows[0].recall, (Interval{0, 0, 0}));
}

LevelReport OfGenerations(const Continuation& full, const Continuation& half) {
  SweepPlan plan = Plan();
  plan.prompts = {{1}};
  return MakeSweepReport(plan,
                         {{{SweepTask::kGeneration, 0, 0}, GenerationResult{full, {{5}, -2, 1}}},
                          {{SweepTask::kGeneration, 0, 1}, GenerationResult{half, {{6}, -4, 0}}}});
}

TEST(SweepReportTest, RetentionIsWhatTheFullModelAgreesTo) {
  const auto rows = OfGenerations({{1, 2, 3, 4}, -1, 4}, {{1, 2, 9, 4}, -6, 3}).rows;
  EXPECT_EQ(rows[1].retention->value, 0.75);
  EXPECT_EQ(rows[1].retention_prefix->value, 0.5);
  EXPECT_DOUBLE_EQ(*rows[1].generation_perplexity, std::exp(1.5));
  EXPECT_EQ(rows[1].sampled_agreement->value, 0);
  EXPECT_DOUBLE_EQ(*rows[1].sampled_perplexity, std::exp(4));
  EXPECT_EQ(rows[0].retention->value, 1);
  EXPECT_EQ(rows[0].retention_prefix->value, 1);
  EXPECT_EQ(rows[0].sampled_agreement->value, 1);
}

TEST(SweepReportTest, ShorterContinuationsAreKeptSoFar) {
  const auto prefix = [](const Continuation& full, const Continuation& half) {
    return OfGenerations(full, half).rows[1].retention_prefix->value;
  };
  EXPECT_EQ(prefix({{1, 2, 3, 4}}, {{1, 2}}), 0.5);
  EXPECT_EQ(prefix({{1, 2}}, {{1, 2, 3, 4}}), 0.5);
  EXPECT_EQ(prefix({{1}}, {}), 0);
  EXPECT_EQ(prefix({}, {}), 1);
  EXPECT_FALSE(OfGenerations({{1}}, {}).rows[1].retention);
  EXPECT_FALSE(OfGenerations({{1}}, {}).rows[1].generation_perplexity);
}

TEST(SweepReportTest, TimesAreMediansOfRuns) {
  SweepPlan plan = Plan();
  plan.settings.speed_runs = 3;
  SweepResults results;
  for (int run = 0; run < 3; ++run) {
    // The first run is an outlier.
    const double noise = run == 0 ? 100 : run;
    results[{SweepTask::kSpeed, run, 0}] = SpeedResult{50 + noise, 31 * (10 + noise), 500, 32, 64};
    results[{SweepTask::kSpeed, run, 1}] = SpeedResult{25 + noise, 31 * (8 + noise), 500, 32, 16};
  }
  const LevelReport report = MakeSweepReport(plan, results);
  EXPECT_DOUBLE_EQ(*report.rows[0].prefill_ms, 104);
  EXPECT_DOUBLE_EQ(*report.rows[0].decode_ms, 12);
  EXPECT_EQ(report.rows[0].pages, 1);
  EXPECT_DOUBLE_EQ(*report.rows[1].prefill_ms, 54);
  EXPECT_DOUBLE_EQ(*report.rows[1].decode_ms, 10);
  EXPECT_EQ(report.rows[1].pages, 0.25);
}

TEST(SweepReportTest, OneTokenHasNoDecodeTime) {
  SweepPlan plan = Plan();
  plan.settings.speed_runs = 1;
  const LevelReport report =
      MakeSweepReport(plan, {{{SweepTask::kSpeed, 0, 0}, SpeedResult{50, 0, 500, 1, 64}},
                             {{SweepTask::kSpeed, 0, 1}, SpeedResult{50, 0, 500, 1, 64}}});
  EXPECT_FALSE(report.rows[1].decode_ms);
  EXPECT_TRUE(report.rows[1].prefill_ms);
}

TEST(SweepReportTest, WhatWasNotMeasuredIsUnset) {
  const LevelReport report = MakeSweepReport(Plan(), {});
  const auto& row = report.rows[1];
  EXPECT_FALSE(row.perplexity || row.nll_change || row.agreement || row.brier || row.accuracy ||
               row.choice || row.last_words || row.recall || row.retention || row.decode_ms ||
               row.prefill_ms || row.pages);
  EXPECT_THAT(report.notes, Not(Contains(HasSubstr("Text"))));
}

}  // namespace
}  // namespace skipstone::client
