// Every golden case through the running server. The goldens are float64 outputs of an independent
// NumPy implementation (tests/golden/README.md).
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/integration/request_batch.h"
#include "tests/support/paths.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

constexpr double kLogprobTolerance = 1e-3;
// Below this gap between the two likeliest logits f32 may order them otherwise than float64.
constexpr double kTie = 2e-3;

nlohmann::json ReadJson(const std::string& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in);
}

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

void CheckModel(const std::string& model, const std::string& golden_file) {
  const auto server = ServerProcess::Start({"--model=" + model});
  ASSERT_NE(server, nullptr);
  const auto stub = Connect(server->grpc_address());
  const nlohmann::json goldens = ReadJson(golden_file);
  ASSERT_EQ(goldens["cases"].size(), 24u);
  for (const auto& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["skip"].get<std::string>() + " / " + golden["prompt"].get<std::string>());
    CheckGreedy(*stub, golden);
    CheckScore(*stub, golden);
  }
}

TEST(GoldenTest, DemoModelInBf16) {
  CheckModel(DemoModelDir(), SourceDir() + "/tests/golden/demo.json");
}

// The bundled equivalent is the test above; this one adds f32 weights and a tied head.
TEST(GoldenTest, Stories260kInF32) {
  const std::string shared = SourceDir() + "/../shared";
  if (!std::filesystem::exists(shared + "/golden/stories260K.json")) {
    GTEST_SKIP() << "the stories260K model lies outside the repository";
  }
  CheckModel(shared + "/data/models/stories260K", shared + "/golden/stories260K.json");
}

}  // namespace
}  // namespace skipstone
