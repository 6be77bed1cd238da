#include "server/policy.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(PolicyTest, EverybodyMayAskForLessAndNobodyForMore) {
  const PolicyConfig policy;
  EngineRequest request;
  EXPECT_TRUE(CheckPolicy(request, policy).ok());
  request.priority = -100;
  EXPECT_TRUE(CheckPolicy(request, policy).ok());
  request.priority = 1;
  EXPECT_THAT(CheckPolicy(request, policy).ToString(),
              AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("priority: 1,"),
                    HasSubstr("limit is 0 (policy.max_priority)")));
  EXPECT_TRUE(CheckPolicy(request, {.max_priority = 1}).ok());
}

TEST(PolicyTest, WithoutAlternativesALogProbabilityIsStillTold) {
  const PolicyConfig policy{.max_logprobs = 0};
  EngineRequest request;
  request.output = {.logprobs = 0, .prompt_logprobs = 0};
  EXPECT_TRUE(CheckPolicy(request, policy).ok());
  request.output.prompt_logprobs = 1;
  EXPECT_THAT(CheckPolicy(request, policy).ToString(), HasSubstr("output.prompt_logprobs: 1,"));
  v1::ScoreRequest score;
  EXPECT_TRUE(CheckPolicy(score, policy).ok());
  score.set_top_logprobs(1);
  EXPECT_THAT(CheckPolicy(score, policy).ToString(), HasSubstr("top_logprobs: 1,"));
}

TEST(PolicyTest, AScoreThatItsTenantMayNeverHaveIsNotToBeSentAgain) {
  v1::ScoreRequest score;
  for (int i = 0; i < 3; ++i) score.add_items();
  EXPECT_TRUE(CheckPolicy(score, {.max_tenant_running = 3, .max_tenant_queued = 3}).ok());
  for (const PolicyConfig& policy :
       {PolicyConfig{.max_tenant_running = 2}, PolicyConfig{.max_tenant_queued = 2}}) {
    const absl::Status status = CheckPolicy(score, policy);
    EXPECT_TRUE(absl::IsResourceExhausted(status));
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("can never fit"), HasSubstr("is 2")));
  }
}

}  // namespace
}  // namespace skipstone::server
