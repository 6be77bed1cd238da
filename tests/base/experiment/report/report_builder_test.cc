#include "base/experiment/report/report_builder.h"

#include <sstream>

#include "base/experiment/report/report_html.h"
#include "base/experiment/report/report_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"

namespace skipstone::experiment {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

ExposureReport ReportOf(const std::vector<ExposureRecord>& log, ReportOptions options = {}) {
  ReportBuilder builder(std::move(options));
  for (const ExposureRecord& record : log) builder.Add(record);
  return builder.Finish({.records = static_cast<int64_t>(log.size())});
}

TEST(ReportBuilderTest, FindsWhatWasPlanted) {
  const ExposureReport report = ReportOf(PlantedLog(40'000));
  ASSERT_EQ(report.experiments.size(), 1u);
  const ExperimentReport& experiment = report.experiments[0];
  ASSERT_EQ(experiment.arms.size(), 2u);
  EXPECT_EQ(experiment.arms[0].name, "control");
  EXPECT_EQ(experiment.arms[0].requests + experiment.arms[1].requests, 40'000);
  EXPECT_EQ(experiment.arms[0].units + experiment.arms[1].units, 10'000);
  const auto effect = [&](const char* key) { return *experiment.EffectOf(1, key); };
  EXPECT_TRUE(effect("attributed_s_per_token").interval->Contains(-0.1));
  EXPECT_TRUE(effect("attributed_s_per_token").IsClear());
  EXPECT_NEAR(effect("kv_pages").value, -12.0 / 32, 1e-9);
  EXPECT_TRUE(effect("kl_nats").interval->Contains(0.051)) << "0.05 e^(0.2^2 / 2)";
  EXPECT_NEAR(effect("agreement_ratio").value, -0.1, 1e-9);
  EXPECT_FALSE(effect("failure_ratio").IsClear());
  EXPECT_NEAR(*experiment.arms[1].calibration_error, 0.16, 1e-9);
  EXPECT_GT(*experiment.sample_ratio_p, 0.05);
  EXPECT_THAT(experiment.verdicts, ElementsAre(HasSubstr("treatment costs ")));
}

TEST(ReportBuilderTest, MixedArmsShowNoLatencyAndSayWhy) {
  const ExposureReport report = ReportOf(PlantedLog(400));
  for (const char* key : {"ttft_s", "itl_s", "e2e_s"}) {
    EXPECT_EQ(report.experiments[0].EffectOf(1, key), nullptr) << key;
    for (const ArmReport& arm : report.experiments[0].arms) {
      EXPECT_FALSE(arm.values[*MetricByKey(key)]) << key;
    }
  }
  EXPECT_THAT(report.experiments[0].verdicts[0], HasSubstr("because arms share steps"));
}

TEST(ReportBuilderTest, LooksNarrowAndAreFew) {
  const ExposureReport report = ReportOf(PlantedLog(40'000));
  const auto& looks = report.experiments[0].looks;
  ASSERT_GT(looks.size(), 20u);
  EXPECT_LE(looks.size(), ExperimentTally::kMostLooks + 1);
  const auto width = [](const LookReport& look) {
    for (const EffectReport& effect : look.effects) {
      if (effect.metric != *MetricByKey("attributed_s_per_token")) continue;
      return effect.interval->high - effect.interval->low;
    }
    return 0.0;
  };
  EXPECT_LT(width(looks.back()), width(looks[looks.size() / 2]));
  EXPECT_LT(width(looks[looks.size() / 2]), width(looks[looks.size() / 8]));
  for (size_t i = 1; i < looks.size(); ++i) {
    EXPECT_LT(looks[i - 1].time_unix_ms, looks[i].time_unix_ms);
    EXPECT_LE(looks[i - 1].units, looks[i].units);
  }
}

TEST(ReportBuilderTest, ConfigurationsAreKeptApart) {
  std::vector<ExposureRecord> log = PlantedLog(800);
  for (size_t i = 400; i < log.size(); ++i) log[i].exposures[0].generation = {0xbeef};
  const ExposureReport report = ReportOf(log);
  ASSERT_EQ(report.experiments.size(), 2u);
  EXPECT_EQ(report.experiments[0].generation.value, 0x5eed) << "by time";
  EXPECT_EQ(report.experiments[1].generation.value, 0xbeef);
  for (const ExperimentReport& experiment : report.experiments) {
    EXPECT_EQ(experiment.generations, 2);
    EXPECT_EQ(experiment.arms[0].requests + experiment.arms[1].requests, 400);
    EXPECT_THAT(experiment.notes[0], HasSubstr("2 configurations"));
  }
}

TEST(ReportBuilderTest, TheControlIsTheOneNamedSoOrAsked) {
  std::vector<ExposureRecord> log;
  for (int i = 0; i < 60; ++i) {
    const char* const arms[] = {"b", "control", "a"};
    log.push_back(MixedRecord(i, i, arms[i % 3]));
    log.back().exposures[0].share = 1.0 / 3;
  }
  const auto names = [&](const std::string& control) {
    const ExposureReport report = ReportOf(log, {.control = control});
    std::vector<std::string> names;
    for (const ArmReport& arm : report.experiments[0].arms) names.push_back(arm.name);
    EXPECT_EQ(report.experiments[0].verdicts.size(), 2u) << "one for each other arm";
    return names;
  };
  EXPECT_THAT(names(""), ElementsAre("control", "a", "b"));
  EXPECT_THAT(names("b"), ElementsAre("b", "a", "control"));
  EXPECT_THAT(names("no such arm"), ElementsAre("control", "a", "b"));
}

TEST(ReportBuilderTest, ArmsWithoutTheirShareAreAnAlarm) {
  std::vector<ExposureRecord> log;
  for (int i = 0; i < 4000; ++i) {
    log.push_back(MixedRecord(i, i, i % 5 < 2 ? "control" : "treatment"));
  }
  EXPECT_THAT(ReportOf(log).experiments[0].verdicts,
              ElementsAre(HasSubstr("assignment or logging")));
}

// Of two equal arms only one was ever met.
TEST(ReportBuilderTest, AnArmWithoutTrafficIsAnAlarm) {
  std::vector<ExposureRecord> log;
  for (int i = 0; i < 4000; ++i) log.push_back(MixedRecord(i, i, "control"));
  EXPECT_THAT(ReportOf(log).experiments[0].verdicts,
              ElementsAre(HasSubstr("assignment or logging")));
  log.resize(3);
  EXPECT_THAT(ReportOf(log).experiments[0].verdicts,
              ElementsAre("Only control has traffic: there is nothing to compare."));
}

TEST(ReportBuilderTest, OneUnitHasNoInterval) {
  const ExposureReport report =
      ReportOf({MixedRecord(1, 1, "control"), MixedRecord(2, 2, "treatment")});
  const EffectReport* effect = report.experiments[0].EffectOf(1, "attributed_s_per_token");
  ASSERT_NE(effect, nullptr);
  EXPECT_FALSE(effect->interval);
  EXPECT_THAT(report.experiments[0].verdicts[0], HasSubstr("too little traffic"));
}

TEST(ReportBuilderTest, RequestsWithoutTokensDivideNothing) {
  std::vector<ExposureRecord> log;
  for (int i = 0; i < 100; ++i) {
    ExposureRecord record = MixedRecord(i, i, i % 2 == 0 ? "control" : "treatment");
    record.prompt_tokens = record.generated_tokens = 0;
    record.attributed_s = 0;
    record.shadow = ShadowResult();
    log.push_back(record);
  }
  const ExposureReport report = ReportOf(log);
  EXPECT_EQ(report.experiments[0].EffectOf(1, "attributed_s_per_token"), nullptr);
  EXPECT_EQ(report.experiments[0].EffectOf(1, "kl_nats"), nullptr);
  EXPECT_THAT(report.experiments[0].worst, IsEmpty());
  EXPECT_THAT(ToTable(report) + ToJson(report) + ToHtml(report), Not(HasSubstr("nan")));
}

TEST(ReportBuilderTest, WhatIsOutsideOfTheArmsIsCounted) {
  std::vector<ExposureRecord> log = PlantedLog(40);
  ExposureRecord record = MixedRecord(50, 1, "");
  for (const Reason reason : {Reason::kUnitMissing, Reason::kExcluded, Reason::kUnitMissing}) {
    record.exposures[0].reason = reason;
    log.push_back(record);
  }
  record.exposures.clear();
  log.push_back(record);
  log[0].enlarged = true;
  const ExposureReport report = ReportOf(log);
  EXPECT_EQ(report.outside, 1);
  EXPECT_THAT(report.experiments[0].unassigned,
              ElementsAre(Pair("excluded", 1), Pair("unit_missing", 2)));
  EXPECT_EQ(report.experiments[0].enlarged, 1);
  EXPECT_THAT(ToTable(report), HasSubstr("2 requests were in no arm: unit_missing."));
}

TEST(ReportBuilderTest, ACallersArmNeedsNoUnitAndNoShare) {
  std::vector<ExposureRecord> log;
  for (int i = 0; i < 40; ++i) {
    ExposureRecord record = MixedRecord(i, 0, i % 4 == 0 ? "control" : "treatment");
    record.exposures[0].reason = Reason::kGatewayArm;
    record.exposures[0].share = 0;
    record.exposures[0].unit = std::nullopt;
    log.push_back(record);
  }
  const ExperimentReport experiment = ReportOf(log).experiments[0];
  EXPECT_EQ(experiment.without_unit, 40);
  EXPECT_EQ(experiment.arms[0].units, 10);
  EXPECT_FALSE(experiment.sample_ratio_p);
}

TEST(ReportBuilderTest, TheWorstRequestsAreKept) {
  std::vector<ExposureRecord> log = PlantedLog(400);
  for (int i = 0; i < 400; ++i) log[i].shadow = Shadow(((i * 37) % 400) / 100.0, 40);
  log[0].traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  log[0].shadow = Shadow(9, 40);
  const auto worst = ReportOf(log).experiments[0].worst;
  ASSERT_EQ(worst.size(), WorstRequest::kMost);
  EXPECT_EQ(worst[0].request_id, "request-0");
  EXPECT_THAT(worst[0].traceparent, HasSubstr("0af7651916cd43dd"));
  for (size_t i = 1; i < worst.size(); ++i) {
    EXPECT_NEAR(worst[i].kl_per_token, (400.0 - static_cast<double>(i)) / 100, 1e-9);
  }
}

std::vector<ExposureRecord> SwitchbackLog(double factor) {
  std::vector<ExposureRecord> log;
  for (int window = 0; window < 80; ++window) {
    const bool is_treated = (Mix64(window / 4) % 2 == 0) == (window % 4 < 2);
    const double load = std::exp(0.1 * Normal(window));
    for (int request = 0; request < 5; ++request) {
      ExposureRecord record =
          WindowRecord(window * 5 + request, window, is_treated ? "treatment" : "control");
      const double noise = load * std::exp(0.1 * Normal(1000 + window * 5 + request));
      for (auto* latency : {&record.ttft_s, &record.itl_mean_s}) {
        **latency *= noise * (is_treated ? factor : 1);
      }
      log.push_back(std::move(record));
    }
  }
  return log;
}

TEST(ReportBuilderTest, SwitchbacksCompareLatencies) {
  std::vector<ExposureRecord> log = SwitchbackLog(1.5);
  log[0].exposures[0].window->counted = false;
  log[1].exposures[0].window->ended_index = 1;
  const ExperimentReport experiment = ReportOf(log).experiments[0];
  EXPECT_TRUE(experiment.EffectOf(1, "itl_s")->interval->Contains(0.5));
  EXPECT_LT(*experiment.EffectOf(1, "itl_s")->p_value, 0.01);
  EXPECT_EQ(experiment.arms[0].units, 40) << "windows";
  EXPECT_EQ(experiment.in_washout, 1);
  EXPECT_EQ(experiment.ran_on, 1);
  EXPECT_FALSE(experiment.sample_ratio_p);
  EXPECT_EQ(experiment.windows.size(), 80u);
  EXPECT_THAT(experiment.verdicts,
              ElementsAre(testing::AllOf(HasSubstr("more inter-token latency (p "),
                                         HasSubstr("carry-over of order 0"))));
}

TEST(ReportBuilderTest, BothDesignsUnderOneNameStayApart) {
  std::vector<ExposureRecord> log = SwitchbackLog(1);
  const std::vector<ExposureRecord> mixed = PlantedLog(40);
  log.insert(log.end(), mixed.begin(), mixed.end());
  const ExposureReport report = ReportOf(log);
  ASSERT_EQ(report.experiments.size(), 2u);
  EXPECT_NE(report.experiments[0].design, report.experiments[1].design);
}

TEST(ReportBuilderTest, ManyExperimentsAndArmsDoNotFillTheMemory) {
  std::vector<ExposureRecord> log;
  for (int i = 0; i < 200; ++i) {
    log.push_back(MixedRecord(i, i, absl::StrCat("arm-", i)));
    log.push_back(MixedRecord(i, i, "control"));
    log.back().exposures[0].experiment = absl::StrCat("experiment-", i);
    log.back().outcome = absl::StrCat("outcome-", i);
  }
  const ExposureReport report = ReportOf(log);
  EXPECT_EQ(report.experiments.size(), ReportBuilder::kMostTallies);
  EXPECT_EQ(report.dropped, 200 - static_cast<int64_t>(ReportBuilder::kMostTallies) + 1);
  const auto& many = report.experiments[0];
  EXPECT_EQ(many.arms.size(), ExperimentTally::kMostArms);
  EXPECT_EQ(many.other_arms, 200 - static_cast<int64_t>(ExperimentTally::kMostArms));
}

TEST(ReportBuilderTest, NothingIsAReportToo) {
  const ExposureReport report = ReportOf({});
  EXPECT_THAT(report.experiments, IsEmpty());
  EXPECT_THAT(ToHtml(report), HasSubstr("No record met an experiment"));
  EXPECT_EQ(ToTable(report), "0 records.\n");
}

// Whatever lines there are, a report comes of them, and none of its texts is markup or a command to
// a terminal.
TEST(ReportBuilderTest, AnyRecordsMakeAReport) {
  const std::string evil = "<img src=x onerror='alert(1)'>\x1b[2J\n\xff";
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::vector<ExposureRecord> log;
    uint64_t state = seed << 20;
    const auto draw = [&](uint64_t most) { return Mix64(state++) % most; };
    const auto number = [&] {
      constexpr double kNumbers[] = {0, 1, 1e-300, 1e300, 0.3, 7};
      return kNumbers[draw(6)];
    };
    for (uint64_t i = draw(40); i > 0; --i) {
      const std::string arm = draw(3) == 0 ? evil : absl::StrCat("arm-", draw(3));
      ExposureRecord record =
          draw(2) == 0
              ? WindowRecord(static_cast<int64_t>(draw(9)), static_cast<int64_t>(draw(20)), arm)
              : MixedRecord(static_cast<int64_t>(draw(9)), draw(5), arm);
      Exposure& exposure = record.exposures[0];
      if (draw(2) == 0) exposure.experiment = evil;
      exposure.generation = {draw(2)};
      exposure.share = draw(3) * 0.5;
      if (draw(8) == 0) exposure.reason = Reason::kExcluded;
      if (exposure.window && draw(4) == 0) exposure.window->block = draw(3);
      if (exposure.window && draw(4) == 0) exposure.window->counted = false;
      record.outcome = draw(2) == 0 ? evil : "error";
      record.level = record.request_id = evil;
      record.attributed_s = number();
      record.e2e_s = number();
      if (draw(3) == 0) record.itl_mean_s = number();
      record.time_unix_ms = draw(3) == 0 ? 0 : record.time_unix_ms * draw(3);
      record.prompt_tokens = record.generated_tokens = draw(2);
      if (draw(2) == 0) record.shadow = Shadow(number(), 50);
      log.push_back(std::move(record));
    }
    const ExposureReport report = ReportOf(log, {.carry_over = static_cast<int>(draw(3))});
    const std::string page = ToHtml(report);
    ASSERT_THAT(page, Not(HasSubstr("<img"))) << seed;
    ASSERT_THAT(page, Not(HasSubstr("\x1b"))) << seed;
    ASSERT_THAT(page, Not(HasSubstr("nan"))) << seed;
    ASSERT_THAT(ToTable(report), Not(HasSubstr("\x1b"))) << seed;
    ASSERT_THAT(ToVerdictLines(report), Not(HasSubstr("\x1b"))) << seed;
    ASSERT_FALSE(ToJson(report).empty()) << seed;
  }
}

}  // namespace
}  // namespace skipstone::experiment
