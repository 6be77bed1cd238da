#include "client/cli/arm_series.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "base/experiment/report/report_builder.h"
#include "base/experiment/report/report_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using experiment::ArmTraffic;
using testing::HasSubstr;

// Spans of 300 s in which both arms have 10 requests of 100 tokens, a tenth of the treatment's
// failed, at a fifth less attributed time.
std::vector<PrometheusSeries> Answer(const std::string& query) {
  constexpr int kSpans = 40;
  std::vector<PrometheusSeries> all;
  const auto add = [&](std::map<std::string, std::string> labels, auto value) {
    PrometheusSeries& series = all.emplace_back();
    series.labels = std::move(labels);
    for (int i = 0; i < kSpans; ++i) series.points.emplace_back(300'000 * i, value(i));
  };
  for (const std::string arm : {"e/c", "e/t"}) {
    const bool is_treated = arm == "e/t";
    if (query.find("requests_total") != std::string::npos) {
      add({{"arm", arm}, {"outcome", "ok"}}, [&](int) { return is_treated ? 9.2 : 10; });
      if (is_treated) add({{"arm", arm}, {"outcome", "error"}}, [](int) { return 0.9; });
    } else if (query.find("attributed") != std::string::npos) {
      add({{"arm", arm}}, [&](int i) { return (is_treated ? 0.8 : 1) * (1 + 0.1 * (i % 3)); });
    } else if (query.find("kl_nats_sum") != std::string::npos) {
      add({{"arm", arm}}, [&](int i) { return is_treated ? 5 + i % 2 : 0; });
    } else {
      add({{"arm", arm}}, [](int i) { return i == 0 ? NAN : 100; });
    }
  }
  return all;
}

TEST(ArmSeriesTest, SumsAreThoseOfSpansAndArms) {
  std::vector<std::string> queries;
  const std::vector<ArmTraffic> traffic =
      ReadArmTraffic("e", absl::Minutes(5), [&](const std::string& query) {
        queries.push_back(query);
        return Answer(query);
      }).value();
  EXPECT_EQ(queries.at(0),
            "sum by (arm, outcome) (increase(skipstone_requests_total{arm=~\"e/.+\"}[300s]))");
  ASSERT_EQ(traffic.size(), 80);
  const ArmTraffic& treated = traffic.at(3);
  EXPECT_EQ(treated.experiment, "e");
  EXPECT_EQ(treated.arm, "t");
  EXPECT_EQ(treated.time_unix_ms, 300'000);
  EXPECT_EQ(treated.outcomes.at("error"), 1);
  EXPECT_DOUBLE_EQ(treated.sums[experiment::kRequests], 10.1);
  EXPECT_DOUBLE_EQ(treated.sums[experiment::kFailures], 0.9);
  EXPECT_DOUBLE_EQ(treated.sums[experiment::kTokens], 200);  // of prompts and outputs
  EXPECT_DOUBLE_EQ(treated.sums[experiment::kGeneratedTokens], 100);
  EXPECT_DOUBLE_EQ(treated.sums[experiment::kKlNats], 6);
  EXPECT_TRUE(std::isnan(treated.sums[experiment::kAgreeingTokens]));
}

TEST(ArmSeriesTest, ReportsWhatMetricsKnowAndSaysWhatTheyDoNot) {
  const auto traffic = ReadArmTraffic("", absl::Minutes(5), Answer).value();
  experiment::ReportBuilder builder({.control = "c"});
  for (const ArmTraffic& one : traffic) builder.Add(one);
  const experiment::ExposureReport report = builder.Finish({});
  ASSERT_EQ(report.experiments.size(), 1);
  const experiment::ExperimentReport& e = report.experiments[0];
  ASSERT_EQ(e.arms.size(), 2);
  EXPECT_EQ(e.arms[1].name, "t");
  EXPECT_EQ(e.arms[1].requests, 400);
  EXPECT_EQ(e.arms[1].units, 40);
  const experiment::EffectReport* const cost = e.EffectOf(1, "attributed_s_per_request");
  ASSERT_TRUE(cost != nullptr && cost->interval);
  EXPECT_NEAR(cost->value, 0.8 * 10 / 10.1 - 1, 1e-9);
  EXPECT_TRUE(cost->IsClear());
  EXPECT_NE(e.EffectOf(1, "kl_nats"), nullptr);
  for (const char* unknown : {"agreement_ratio", "brier", "kv_pages", "ttft_s"}) {
    EXPECT_EQ(e.EffectOf(1, unknown), nullptr) << unknown;
    EXPECT_FALSE(e.arms[1].values[*experiment::MetricByKey(unknown)]) << unknown;
  }
  EXPECT_FALSE(e.sample_ratio_p);
  const std::string table = ToTable(report);
  EXPECT_THAT(table, HasSubstr("e (from metrics, 1970-01-01"));
  EXPECT_THAT(table, HasSubstr("Metrics know no users"));
  EXPECT_THAT(table, testing::Not(HasSubstr("records.")));
}

TEST(ArmSeriesTest, NamesAreTakenAsTheyStand) {
  std::string query;
  const auto ask = [&](const std::string& asked) -> absl::StatusOr<std::vector<PrometheusSeries>> {
    query = asked;
    return absl::UnavailableError("no");
  };
  EXPECT_EQ(ReadArmTraffic("a.b|c\"\\d", absl::Minutes(1), ask).status().message(), "no");
  EXPECT_THAT(query, HasSubstr(R"(arm=~"a\\.b\\|c\"\\\\d/.+")"));
}

TEST(ArmSeriesTest, SpansThatPrometheusDoesNotAnswerAreRefused) {
  PrometheusSource source;
  EXPECT_TRUE(source.Check().ok());
  source.span = absl::Seconds(10);
  EXPECT_TRUE(source.Check().ok());
  source.last = absl::Hours(48);
  EXPECT_THAT(std::string(source.Check().message()), HasSubstr("--last"));
  source.last = absl::Seconds(5);
  EXPECT_FALSE(source.Check().ok());
  source = {.span = absl::Seconds(1)};
  EXPECT_FALSE(source.Check().ok());
}

TEST(PrometheusTest, ReadsWhatPrometheusAnswers) {
  const auto series = ParsePrometheusAnswer(
      R"({"status":"success","data":{"resultType":"matrix","result":[
          {"metric":{"arm":"e/c"},"values":[[1700000000.25,"1.5"],[1700000300,"NaN"]]}]}})");
  ASSERT_TRUE(series.ok()) << series.status();
  EXPECT_EQ(series->at(0).labels.at("arm"), "e/c");
  EXPECT_EQ(series->at(0).points.at(0).first, 1'700'000'000'250);
  EXPECT_EQ(series->at(0).points.at(0).second, 1.5);
  EXPECT_TRUE(std::isnan(series->at(0).points.at(1).second));
}

TEST(PrometheusTest, ErrorsAndOtherAnswersAreSaid) {
  EXPECT_EQ(ParsePrometheusAnswer(
                R"({"status":"error","errorType":"bad_data","error":"parse error at char 3"})")
                .status()
                .message(),
            "parse error at char 3");
  for (const char* text : {"", "<html>502", "{}", R"({"status":"success"})",
                           R"({"status":"success","data":{"result":[{"metric":7}]}})"}) {
    EXPECT_THAT(std::string(ParsePrometheusAnswer(text).status().message()),
                HasSubstr("no answer of Prometheus"))
        << text;
  }
  EXPECT_EQ(QueryPrometheus("http://127.0.0.1:1", "up", {absl::Now(), absl::Now(), absl::Hours(1)})
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(QueryPrometheus("file:///etc/passwd", "up", {absl::Now(), absl::Now(), absl::Hours(1)})
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace skipstone::client
