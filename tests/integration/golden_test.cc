// Every golden case through the running server. The goldens are float64 outputs of an independent
// NumPy implementation (tests/golden/README.md).
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/integration/request_batch.h"
#include "tests/support/goldens.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

constexpr double kLogprobTolerance = 1e-3;
// Below this gap between the two likeliest logits f32 may order them otherwise than float64.
constexpr double kTie = 2e-3;

v1::GenerateRequest GreedyRequest(const nlohmann::json& golden) {
  v1::GenerateRequest request;
  for (const auto& id : golden["prompt_ids"]) request.mutable_token_ids()->add_ids(id);
  request.mutable_skip()->set_spec(golden["skip"]);
  request.mutable_sampling()->set_temperature(0);
  request.mutable_stopping()->set_max_tokens(golden["greedy_ids"].size());
  request.mutable_stopping()->set_ignore_eos(true);
  request.mutable_output()->set_logprobs(10);
  return request;
}

void CheckGreedy(v1::Inference::Stub& stub, const nlohmann::json& golden) {
  const v1::GenerateResponse response = Generate(stub, GreedyRequest(golden));
  ASSERT_EQ(response.outputs_size(), 1);
  const auto& tokens = response.outputs(0).delta().tokens();
  ASSERT_EQ(tokens.size(), static_cast<int>(golden["greedy_ids"].size()));
  for (const auto& [id, logprob] :
       golden["first_token_top10"].get<std::vector<std::pair<int, double>>>()) {
    bool found = false;
    for (const v1::TopToken& top : tokens[0].top()) {
      if (static_cast<int>(top.id()) != id) continue;
      found = true;
      EXPECT_NEAR(top.logprob(), logprob, kLogprobTolerance);
    }
    EXPECT_TRUE(found) << "token " << id << " is not among the ten likeliest";
  }
  for (int i = 0; i < tokens.size(); ++i) {
    if (static_cast<int>(tokens[i].id()) != golden["greedy_ids"][i].get<int>()) {
      EXPECT_LT(golden["min_top2_logit_gap"].get<double>(), kTie) << "token " << i;
      return;  // from here on the texts differ
    }
    EXPECT_NEAR(tokens[i].logprob(), golden["greedy_logprobs"][i].get<double>(), kLogprobTolerance);
  }
  const std::string text = response.outputs(0).delta().text();
  const std::string expected = golden["text"];
  EXPECT_EQ(text.substr(text.size() > expected.size() ? text.size() - expected.size() : 0),
            expected);
}

// The same tokens, given instead of drawn: the log-probabilities must agree whatever was greedy.
void CheckScore(v1::Inference::Stub& stub, const nlohmann::json& golden) {
  v1::ScoreRequest request;
  request.mutable_skip()->set_spec(golden["skip"]);
  v1::ScoreItem* item = request.add_items();
  for (const auto& id : golden["prompt_ids"]) {
    item->mutable_prompt()->mutable_token_ids()->add_ids(id);
  }
  for (const auto& id : golden["greedy_ids"]) {
    item->mutable_continuation()->mutable_token_ids()->add_ids(id);
  }
  grpc::ClientContext context;
  v1::ScoreResponse response;
  const grpc::Status status = stub.Score(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.results_size(), 1);
  const v1::ScoreResult& result = response.results(0);
  ASSERT_EQ(result.tokens_size(), static_cast<int>(golden["greedy_ids"].size()));
  for (int i = 0; i < result.tokens_size(); ++i) {
    EXPECT_EQ(static_cast<int>(result.tokens(i).id()), golden["greedy_ids"][i].get<int>());
    EXPECT_NEAR(result.tokens(i).logprob(), golden["greedy_logprobs"][i].get<double>(),
                kLogprobTolerance);
  }
}

// The prompt's own tokens: here every row needs logits, before only those of the continuation.
void CheckPrompt(v1::Inference::Stub& stub, const nlohmann::json& golden) {
  v1::GenerateRequest request = GreedyRequest(golden);
  request.mutable_stopping()->set_max_tokens(1);
  request.mutable_output()->set_prompt_logprobs(0);
  const v1::GenerateResponse response = Generate(stub, request);
  ASSERT_EQ(response.outputs_size(), 1);
  const auto& tokens = response.outputs(0).delta().prompt_tokens();
  ASSERT_EQ(tokens.size(), static_cast<int>(golden["prompt_ids"].size()));
  for (int i = 1; i < tokens.size(); ++i) {
    EXPECT_NEAR(tokens[i].logprob(), golden["prompt_logprobs"][i - 1].get<double>(),
                kLogprobTolerance)
        << "prompt token " << i;
  }
}

void CheckModel(const std::string& model, const nlohmann::json& cases) {
  const auto server = ServerProcess::Start({"--model=" + model});
  ASSERT_NE(server, nullptr);
  const auto stub = Connect(server->grpc_address());
  for (const auto& golden : cases) {
    SCOPED_TRACE(golden["skip"].get<std::string>() + " / " + golden["prompt"].get<std::string>());
    CheckGreedy(*stub, golden);
    CheckScore(*stub, golden);
    if (golden.contains("prompt_logprobs")) CheckPrompt(*stub, golden);
  }
}

class GoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTest, AnswersAsTheOracleDoes) {
  const nlohmann::json goldens = ReadGoldens(GetParam());
  CheckModel(goldens["model"], goldens["cases"]);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTest, testing::ValuesIn(kGoldenFiles), [](const auto& info) {
  return std::filesystem::path(info.param).stem().string();
});

// Trained, with a tied head.
TEST(SharedGoldenTest, Stories260kInF32) {
  const std::string shared = SourceDir() + "/../shared";
  if (!std::filesystem::exists(shared + "/golden/stories260K.json")) {
    GTEST_SKIP() << "the stories260K model lies outside the repository";
  }
  const std::string text = ReadTestFile(shared + "/golden/stories260K.json");
  CheckModel(shared + "/data/models/stories260K", nlohmann::json::parse(text)["cases"]);
}

}  // namespace
}  // namespace skipstone
