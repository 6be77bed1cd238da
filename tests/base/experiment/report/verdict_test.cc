#include "base/experiment/report/verdict.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::experiment {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

EffectReport Effect(const char* key, double value, double low, double high) {
  return {.metric = *MetricByKey(key),
          .arm = 1,
          .value = value,
          .interval = statistics::Interval{low, high},
          .p_value = 0.002};
}

ExperimentReport Example(Design design) {
  ExperimentReport report{.name = "x", .design = design};
  report.arms.resize(2);
  report.arms[0].name = "control";
  report.arms[1].name = "treatment";
  report.arms[0].units = 110;
  report.arms[1].units = 120;
  return report;
}

TEST(VerdictTest, OfAMixedDesignIsCostAndQuality) {
  ExperimentReport report = Example(Design::kMixed);
  report.effects = {Effect("attributed_s_per_token", -0.098, -0.126, -0.071),
                    Effect("kl_nats", 0.058, 0.049, 0.067)};
  EXPECT_THAT(
      VerdictsOf(report),
      ElementsAre("treatment costs 9.8 % [7.1, 12.6] less attributed time per token at a KL of "
                  "0.058 [0.049, 0.067] nats/token; latencies of mixed arms are not compared, "
                  "because arms share steps: use a switchback."));
  report.effects[0] = Effect("attributed_s_per_token", 0.2, 0.1, 0.3);
  EXPECT_THAT(VerdictsOf(report)[0], HasSubstr("costs 20.0 % [10.0, 30.0] more attributed"));
}

TEST(VerdictTest, WhatIsNotClearIsNotClaimed) {
  ExperimentReport report = Example(Design::kMixed);
  report.effects = {Effect("attributed_s_per_token", -0.01, -0.05, 0.03)};
  EXPECT_THAT(VerdictsOf(report)[0],
              HasSubstr("treatment shows no clear change of attributed time per token (-1.0 % "
                        "[-5.0, +3.0]); its quality was not measured;"));
  report.effects[0].interval = std::nullopt;
  EXPECT_THAT(VerdictsOf(report)[0], HasSubstr("too little traffic to tell attributed time"));
  report.effects.clear();
  EXPECT_THAT(VerdictsOf(report)[0], HasSubstr("has no attributed time to compare"));
}

TEST(VerdictTest, MoreFailuresAreSaid) {
  ExperimentReport report = Example(Design::kMixed);
  report.effects = {Effect("failure_ratio", 0.012, 0.004, 0.02)};
  EXPECT_THAT(VerdictsOf(report)[0],
              HasSubstr(", with 1.20 points [0.40, 2.00] more share of failed requests"));
}

TEST(VerdictTest, OfASwitchbackIsItsLatencies) {
  ExperimentReport report = Example(Design::kSwitchback);
  report.carry_over = 1;
  report.effects = {Effect("attributed_s_per_token", -0.2, -0.3, -0.1),
                    Effect("itl_s", 0.5, 0.45, 0.55), Effect("e2e_s", 0.01, -0.1, 0.12)};
  EXPECT_THAT(VerdictsOf(report),
              ElementsAre("treatment shows 50.0 % [45.0, 55.0] more inter-token latency (p 0.002), "
                          "no clear change of end-to-end latency (+1.0 % [-10.0, +12.0]) (p 0.002) "
                          "against control, over 120 and 110 windows by randomisation at a "
                          "carry-over of order 1."));
  report.effects.clear();
  EXPECT_THAT(VerdictsOf(report)[0], HasSubstr("no window that counts in both arms"));
}

TEST(VerdictTest, AMismatchOfTheSampleRatioSilencesTheRest) {
  ExperimentReport report = Example(Design::kMixed);
  report.sample_ratio_p = 1e-5;
  report.effects = {Effect("attributed_s_per_token", -0.098, -0.126, -0.071)};
  EXPECT_TRUE(HasSampleRatioMismatch(report));
  EXPECT_THAT(VerdictsOf(report), ElementsAre(HasSubstr("no other number here can be trusted")));
  report.sample_ratio_p = 0.02;
  EXPECT_FALSE(HasSampleRatioMismatch(report));
}

TEST(VerdictTest, WithoutArmsThereIsNothingToCompare) {
  ExperimentReport report;
  EXPECT_THAT(VerdictsOf(report), ElementsAre(HasSubstr("No request was in an arm")));
}

TEST(VerdictTest, NotesSayWhatWasNotCounted) {
  ExperimentReport report = Example(Design::kSwitchback);
  report.window_seconds = 60;
  report.arms[0].requests = 10;
  report.in_washout = 1;
  report.ran_on = 3;
  report.contradictory = 2;
  report.unassigned = {{"excluded", 1}};
  report.enlarged = 4;
  const auto notes = NotesOf(report, {});
  for (const char* text :
       {"windows of 60 s", "1 request of a washout does not count.", "3 requests ended after",
        "Take longer windows", "clocks differ", "1 request was in no arm: excluded.",
        "4 requests had their skip set enlarged"}) {
    EXPECT_THAT(notes, testing::Contains(HasSubstr(text)));
  }
  EXPECT_THAT(NotesOf(report, {.control = "contrl"})[0],
              HasSubstr("No arm is named contrl: the others are compared with control."));
  EXPECT_THAT(NotesOf(Example(Design::kMixed), {.alpha = 0.1}),
              testing::Contains(HasSubstr("hold at every look, each by itself at 90 %")));
}

}  // namespace
}  // namespace skipstone::experiment
