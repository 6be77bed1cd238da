// Levels, policy and experiments that change while requests run.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;

constexpr char kBefore[] = "levels: {full: none, half: 'attn:last=2'}\n";
constexpr char kAfter[] = "levels: {full: none, most: 'attn:last=3'}\ndefault_level: most\n";

v1::GenerateRequest AtLevel(const std::string& level, uint32_t max_tokens = 2) {
  v1::GenerateRequest request = Prompt("5 6 7", max_tokens);
  if (!level.empty()) request.mutable_skip()->set_level(level);
  return request;
}

std::string LevelOf(const Answered<v1::GenerateResponse>& answer) {
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  return answer.response.accepted().applied_skip().level();
}

uint64_t Generation(FakeServer& server) {
  grpc::ClientContext context;
  v1::GetModelResponse model;
  EXPECT_TRUE(server.stub().GetModel(&context, {}, &model).ok());
  return model.config_generation();
}

TEST(ReloadTest, TheNextRequestHasTheNewLevels) {
  FakeServer server({.yaml = kBefore});
  EXPECT_EQ(LevelOf(server.Generate(AtLevel(""))), "full");
  EXPECT_EQ(Generation(server), 1);
  ASSERT_TRUE(server.Reload(kAfter).ok());
  EXPECT_EQ(LevelOf(server.Generate(AtLevel(""))), "most");
  EXPECT_EQ(server.Generate(AtLevel("half")).status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Generation(server), 2);
  EXPECT_EQ(server.Metric("skipstone_config_generation"), 2);
}

TEST(ReloadTest, ARequestThatRunsKeepsItsLevel) {
  FakeServer server({.yaml = kBefore});
  server.gate().Close();
  Answered<v1::GenerateResponse> answer;
  std::thread client([&] { answer = server.Generate(AtLevel("half", 8)); });
  server.gate().WaitArrivals(1);
  EXPECT_TRUE(server.Reload(kAfter).ok());
  server.gate().Open();
  client.join();
  EXPECT_EQ(LevelOf(answer), "half");
  EXPECT_EQ(answer.response.outputs(0).finished().usage().completion_tokens(), 8);
}

TEST(ReloadTest, AWrongOneChangesNothing) {
  FakeServer server({.yaml = kBefore});
  const std::vector<std::string> wrong = {
      "levels: {full: none, half: 'attn:last=99'}",
      "levels: [",
      "default_level: nope",
      "experiments:\n- {name: e, unit: request.experiment_key, arms: [{name: a, level: nope, "
      "weight: 1}, {name: b, level: full, weight: 1}]}",
      std::string(kAfter) + "no_such_key: 1",
      std::string(kAfter) + "policy: {max_n: 0}"};
  for (const std::string& yaml : wrong) EXPECT_FALSE(server.Reload(yaml).ok()) << yaml;
  EXPECT_EQ(LevelOf(server.Generate(AtLevel("half"))), "half");
  EXPECT_EQ(Generation(server), 1);
}

TEST(ReloadTest, ThePolicyIsThatOfTheFile) {
  FakeServer server({.yaml = kBefore});
  v1::GenerateRequest request = AtLevel("");
  request.mutable_skip()->set_spec("attn:0");
  EXPECT_TRUE(server.Generate(request).status.ok());
  ASSERT_TRUE(server.Reload(absl::StrCat(kBefore, "policy: {allow_custom_skip: false}")).ok());
  EXPECT_EQ(server.Generate(request).status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

std::string Experiment(const std::string& arms) {
  return absl::StrCat(kBefore, "experiments:\n- {name: e, unit: request.experiment_key, ",
                      "guardrails: [{metric: error_rate, max: 0.5}], arms: [", arms, "]}\n");
}

TEST(ReloadTest, AnExperimentThatIsTheSameGoesOnAndAnotherBegins) {
  const std::string same = Experiment(
      "{name: control, level: full, weight: 1}, {name: treatment, level: half, weight: 1}");
  FakeServer server({.yaml = same});
  const auto arm_of = [&](const std::string& user) {
    v1::GenerateRequest request = AtLevel("");
    request.set_experiment_key(user);
    return server.Generate(request).response.accepted().applied_skip().arm();
  };
  std::vector<std::string> arms;
  for (int user = 0; user < 16; ++user) arms.push_back(arm_of(absl::StrCat("u", user)));
  EXPECT_THAT(arms, testing::AllOf(testing::Contains("control"), testing::Contains("treatment")));
  ASSERT_TRUE(server.Reload(same + "shadow_fraction: 0.5\n").ok());
  for (int user = 0; user < 16; ++user) EXPECT_EQ(arm_of(absl::StrCat("u", user)), arms[user]);
  ASSERT_TRUE(server.Reload(kBefore).ok());
  EXPECT_EQ(arm_of("u0"), "");
}

TEST(ReloadTest, AThousandUnderLoadLoseNoRequest) {
  FakeServer server({.yaml = kBefore});
  std::atomic<bool> stop{false};
  std::atomic<int> served{0}, failed{0}, mixed{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (!stop) {
        const auto answer = server.Generate(AtLevel("full"));
        ++(answer.status.ok() ? served : failed);
        const auto by_default = server.Generate(AtLevel(""));
        ++(by_default.status.ok() ? served : failed);
        // The default of one file with the levels of the other would be an error or another set.
        const v1::AppliedSkip& applied = by_default.response.accepted().applied_skip();
        mixed += applied.spec() != (applied.level() == "most" ? "attn:1-3" : "none");
      }
    });
  }
  for (int i = 0; i < 500; ++i) {
    EXPECT_TRUE(server.Reload(i % 2 == 0 ? kAfter : kBefore).ok());
    EXPECT_FALSE(server.Reload("default_level: nope").ok());
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(mixed, 0);
  EXPECT_GT(served, 0);
  EXPECT_EQ(Generation(server), 501);
  EXPECT_EQ(server.Metric("skipstone_config_reload_failures_total"), 500);
}

TEST(ReloadTest, WhatOnlyAStartTakesIsNamed) {
  ServerConfig now, next;
  EXPECT_TRUE(NeedRestart(now, next).empty());
  next.threads = 3;
  next.default_level = "most";
  next.shadow_fraction = 0.5;
  next.policy.max_n = 2;
  next.policy.max_tenant_queued = 5;
  EXPECT_THAT(NeedRestart(now, next), testing::ElementsAre("threads", "policy.max_tenant_queued"));
}

}  // namespace
}  // namespace skipstone::server
