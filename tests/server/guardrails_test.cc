#include "server/guardrails.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "server/metrics.h"
#include "tests/server/fake_server.h"
#include "tests/support/metrics_text.h"
#include "tests/support/temp_dir.h"

namespace skipstone::server {
namespace {

using experiment::ExposureRecord;

WatchedExperiment Watched(std::vector<uint64_t> generations = {7}) {
  const std::vector<experiment::GuardrailSpec> limits = {{.metric = "kl", .limit = 0.2},
                                                         {.metric = "error_rate", .limit = 0.05}};
  return {.name = "e",
          .generations = std::move(generations),
          .hold = std::chrono::hours(1),
          .arms = {{"control", limits}, {"treatment", limits}}};
}

ExposureRecord Request(const std::string& arm, double kl, uint64_t generation = 7) {
  ExposureRecord record{.outcome = "ok"};
  record.exposures.push_back({.experiment = "e", .generation = {generation}, .arm = arm});
  record.shadow = experiment::ShadowResult();
  record.shadow->sums.tokens = 10;
  record.shadow->sums.kl = 10 * kl;
  return record;
}

// One replica.
struct Replica {
  explicit Replica(const std::string& folder, const std::string& name = "a",
                   std::vector<uint64_t> generations = {7})
      : guardrails(
            Guardrails::Make(
                {Watched(std::move(generations))}, switches, metrics.server(),
                {.folder = folder, .replica = name, .now_unix_ms = [this] { return now_unix_ms; }})
                .value()) {}

  // Until `count` requests, or the arm is off.
  int Serve(const std::string& arm, double kl, int count) {
    int served = 0;
    while (served < count && !switches.IsOff("e", arm)) {
      guardrails->Take(Request(arm, kl + 0.01 * (served++ % 5)));
    }
    return served;
  }
  double Metric(const std::string& name, const std::string& arm) {
    return SumOfSamples(metrics.Text(), "skipstone_" + name, {"arm=\"e/" + arm + "\""});
  }

  int64_t now_unix_ms = 1'000'000'000'000;
  Metrics metrics{"fake", {}};
  ArmSwitches switches;
  std::unique_ptr<Guardrails> guardrails;
};

TEST(GuardrailsTest, AnArmThatBreaksItsLimitIsTurnedOffOnce) {
  Replica replica("");
  EXPECT_EQ(replica.Metric("experiment_arm_enabled", "treatment"), 1);
  EXPECT_EQ(replica.Metric("guardrail_trips_total", "treatment"), 0);
  EXPECT_EQ(replica.Serve("control", 0.1, 1000), 1000);
  EXPECT_LT(replica.Serve("treatment", 0.3, 1000), 1000);
  replica.guardrails->Take(Request("treatment", 0.5));  // that was under way
  EXPECT_TRUE(replica.switches.IsOff("e", "treatment"));
  EXPECT_FALSE(replica.switches.IsOff("e", "control"));
  EXPECT_EQ(replica.Metric("experiment_arm_enabled", "treatment"), 0);
  EXPECT_EQ(replica.Metric("experiment_arm_enabled", "control"), 1);
  EXPECT_EQ(replica.Metric("guardrail_trips_total", "treatment"), 1);
  EXPECT_THAT(replica.switches.off().at(0).why, testing::HasSubstr("kl max 0.2"));
}

TEST(GuardrailsTest, RequestsOfOthersDoNotCount) {
  Replica replica("");
  for (int i = 0; i < 1000; ++i) {
    replica.guardrails->Take(Request("treatment", 9, /*generation=*/8));
    replica.guardrails->Take(Request("unknown", 9));
    ExposureRecord unassigned = Request("treatment", 9);
    unassigned.exposures[0].reason = experiment::Reason::kDisabled;
    replica.guardrails->Take(unassigned);
    replica.guardrails->Take({.outcome = "error"});
  }
  EXPECT_TRUE(replica.switches.off().empty());
}

TEST(GuardrailsTest, WhatIsOffSurvivesARestart) {
  const TempDir dir;
  { Replica(dir.path()).Serve("treatment", 0.3, 1000); }
  Replica again(dir.path());
  EXPECT_TRUE(again.switches.IsOff("e", "treatment"));
  EXPECT_EQ(again.Metric("experiment_arm_enabled", "treatment"), 0);
  EXPECT_EQ(again.Metric("guardrail_trips_total", "treatment"), 0);  // it tripped before
  Replica changed(dir.path(), "a", {8});
  EXPECT_TRUE(changed.switches.off().empty());
}

TEST(GuardrailsTest, SumsSurviveARestart) {
  const TempDir dir;
  { EXPECT_EQ(Replica(dir.path()).Serve("treatment", 0.3, 60), 60); }
  // Below the least number of values alone, and enough with those before.
  EXPECT_LT(Replica(dir.path()).Serve("treatment", 0.3, 80), 80);
  EXPECT_EQ(Replica("").Serve("treatment", 0.3, 80), 80);
}

TEST(GuardrailsTest, ReplicasAgree) {
  const TempDir dir;
  Replica a(dir.path(), "a"), b(dir.path(), "b");
  a.Serve("treatment", 0.3, 1000);
  a.guardrails->Sync();
  b.guardrails->Sync();
  EXPECT_TRUE(b.switches.IsOff("e", "treatment"));
  EXPECT_EQ(b.Metric("guardrail_trips_total", "treatment"), 0);
  EXPECT_EQ(b.Metric("experiment_arm_enabled", "treatment"), 0);
}

// Values whose limits hold clearly.
void ServeWell(Replica& replica, uint64_t generation, int count = 400) {
  for (int i = 0; i < count; ++i) {
    for (const char* arm : {"control", "treatment"}) {
      replica.guardrails->Take(Request(arm, 0.02 + 0.01 * (i % 5), generation));
    }
  }
}

TEST(GuardrailsTest, ARampTakesAStepAnHourWhileAllHold) {
  Replica replica("", "a", {5, 6, 7});
  const auto step = [&] { return replica.switches.StepOf("e", 2); };
  const auto shown = [&] {
    return SumOfSamples(replica.metrics.Text(), "skipstone_experiment_ramp_step",
                        {"experiment=\"e\""});
  };
  ServeWell(replica, 5);
  EXPECT_EQ(step(), 0);  // not yet
  replica.now_unix_ms += 3'600'000;
  ServeWell(replica, 5, 1);
  EXPECT_EQ(step(), 1);
  EXPECT_EQ(shown(), 1);
  ServeWell(replica, 6);
  EXPECT_EQ(step(), 1);
  replica.now_unix_ms += 3'600'000;
  ServeWell(replica, 6, 1);
  EXPECT_EQ(step(), 2);
  replica.now_unix_ms += 3'600'000;
  ServeWell(replica, 7, 1);
  EXPECT_EQ(step(), 2);  // there is no other
  EXPECT_EQ(shown(), 2);
}

TEST(GuardrailsTest, ARampWaitsForEnoughValuesAndStopsWhereAnArmIsOff) {
  Replica replica("", "a", {6, 7});
  replica.now_unix_ms += 7'200'000;
  ServeWell(replica, 6, 50);
  EXPECT_EQ(replica.switches.StepOf("e", 1), 0);
  while (!replica.switches.IsOff("e", "treatment")) {
    replica.guardrails->Take(Request("treatment", 0.9, 6));
  }
  ServeWell(replica, 6);
  EXPECT_EQ(replica.switches.StepOf("e", 1), 0);
}

TEST(GuardrailsTest, StepsSurviveARestartAndTakeOthersAlong) {
  const TempDir dir;
  const auto hour_later = [](Replica& replica, uint64_t generation) {
    replica.now_unix_ms += 3'600'000;
    ServeWell(replica, generation);
  };
  Replica other(dir.path(), "b", {5, 6, 7});
  {
    Replica replica(dir.path(), "a", {5, 6, 7});
    hour_later(replica, 5);
    EXPECT_EQ(replica.switches.StepOf("e", 2), 1);
  }
  Replica again(dir.path(), "a", {5, 6, 7});
  EXPECT_EQ(again.switches.StepOf("e", 2), 1);
  other.guardrails->Sync();
  EXPECT_EQ(other.switches.StepOf("e", 2), 1);
  // The step's time counts from when it was taken, an hour after `again` has begun.
  ServeWell(again, 6);
  EXPECT_EQ(again.switches.StepOf("e", 2), 1);
  again.now_unix_ms += 3'600'000;
  hour_later(again, 6);
  EXPECT_EQ(again.switches.StepOf("e", 2), 2);
  again.guardrails->Sync();
  const Replica shorter(dir.path(), "c", {6, 7});  // has no such step
  EXPECT_EQ(shorter.switches.StepOf("e", 1), 1);
}

TEST(GuardrailsTest, OthersBrokenFilesDoNoHarm) {
  const TempDir dir;
  dir.Write("x.guardrails.json", "{\"format\": 1, \"off\": [{\"experiment\"");
  dir.Write("y.guardrails.json", R"({"format": 2})");
  dir.Write("z.guardrails.json",
            R"({"format": 1, "off": [{"experiment": "e", "arm": "control", "generation": "zz"}]})");
  dir.Write("a.guardrails.json",
            R"({"format": 1, "off": [], "guardrails": [{"experiment": "e", "arm": "control",
               "generation": "0000000000000007", "limit": "kl max 0.2", "n": -5, "mean": [0, 0],
               "comoment": [0, 0, 0], "p_value": 2}]})");
  Replica replica(dir.path());
  EXPECT_TRUE(replica.switches.off().empty());
  EXPECT_EQ(replica.Serve("control", 0.1, 500), 500);
  EXPECT_LT(replica.Serve("treatment", 0.3, 1000), 1000);
}

TEST(GuardrailsTest, AFolderThatCannotBeReadIsSaidAtTheStart) {
  Metrics metrics("fake", {});
  ArmSwitches switches;
  const auto made = Guardrails::Make({Watched()}, switches, metrics.server(),
                                     {.folder = "/proc/none/of", .replica = "a"});
  EXPECT_EQ(made.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(made.status().message()), testing::HasSubstr("--experiment_state"));
}

TEST(GuardrailsTest, WrongLimitsNameTheirExperiment) {
  Metrics metrics("fake", {});
  ArmSwitches switches;
  WatchedExperiment watched = Watched();
  watched.arms[0].limits[0].metric = "ttft_p99";
  const auto made = Guardrails::Make({watched}, switches, metrics.server(), {});
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(made.status().message()), testing::HasSubstr("experiments.e.guardrails"));
}

TEST(GuardrailsTest, LimitsAreOfAllArmsButTheFirstOrOfOneByName) {
  ServerConfig config;
  ASSERT_TRUE(ReadConfigText("levels: {full: none, deep: 'attn:last=2'}\n"
                             "experiments:\n- name: e\n  unit: request.experiment_key\n"
                             "  guardrails: [{metric: kl, max: 0.2, minimum: 20},\n"
                             "               {arm: b, metric: agreement, min: 0.8, alpha: 0.02}]\n"
                             "  arms: [{name: a, level: full, weight: 1},\n"
                             "         {name: b, level: deep, weight: 1},\n"
                             "         {name: c, level: deep, weight: 1}]\n",
                             "test.yaml", config)
                  .ok());
  const Levels levels = Levels::Make(config, 4, 64, nullptr).value();
  const auto watched = WatchedExperimentsOf(Experiments::Make(config, levels).value()).value();
  ASSERT_EQ(watched.size(), 1);
  const std::vector<WatchedExperiment::Arm>& arms = watched[0].arms;
  ASSERT_EQ(arms.size(), 3);
  EXPECT_EQ(arms[0].limits.size(), 0);
  ASSERT_EQ(arms[1].limits.size(), 2);
  EXPECT_EQ(arms[1].limits[0].minimum, 20);
  EXPECT_TRUE(arms[1].limits[1].is_lower);
  EXPECT_EQ(arms[1].limits[1].alpha, 0.02);
  EXPECT_EQ(arms[2].limits.size(), 1);
  const auto error = [&] {
    return std::string(
        WatchedExperimentsOf(Experiments::Make(config, levels).value()).status().message());
  };
  config.experiments[0].guardrails[1].arm = "d";
  EXPECT_THAT(error(), testing::HasSubstr("there is no arm 'd'"));
  config.experiments[0].guardrails = {{.arm = "b", .limit = {.metric = "kl", .limit = 1}}};
  EXPECT_EQ(error(), "");
  config.experiments[0].ramp.steps = {0.1};
  EXPECT_THAT(error(), testing::HasSubstr("ramp: no guardrail says whether 'c' may grow"));
}

TEST(GuardrailsTest, ThroughTheServerAnArmThatSkipsTooMuchFallsToTheDefaultAndNothingFails) {
  // The fake's skipped levels are half a nat from its full model.
  FakeServer server({.yaml = "levels: {full: none, deep: 'attn:last=2'}\n"
                             "experiments:\n- name: e\n  unit: request.experiment_key\n"
                             "  shadow: {fraction: 1}\n"
                             "  guardrails: [{metric: kl, max: 0.2, minimum: 20}]\n"
                             "  arms: [{name: control, level: full, weight: 1},\n"
                             "         {name: treatment, level: deep, weight: 1}]\n"});
  const auto arm_of = [&](int unit) {
    v1::GenerateRequest request = Prompt("5 6 7", 1 + unit % 5);
    request.set_experiment_key("user-" + std::to_string(unit));
    const auto answer = server.Generate(request);
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    const v1::AppliedSkip& applied = answer.response.accepted().applied_skip();
    EXPECT_EQ(applied.level(), applied.arm() == "treatment" ? "deep" : "full");
    return applied.arm();
  };
  int unit = 0;
  EXPECT_TRUE(Eventually([&] {
    arm_of(unit++);
    return server.Metric("skipstone_guardrail_trips_total") > 0;
  }));
  EXPECT_EQ(server.Metric("skipstone_experiment_arm_enabled"), 1);  // control's
  int control = 0, none = 0;
  for (int i = 0; i < unit; ++i) {
    const std::string arm = arm_of(i);
    EXPECT_NE(arm, "treatment");
    (arm.empty() ? none : control) += 1;
  }
  EXPECT_GT(control, 0);
  EXPECT_GT(none, 0);
  EXPECT_GT(server.Metric("skipstone_shadow_tokens_total"), 0);
}

}  // namespace
}  // namespace skipstone::server
