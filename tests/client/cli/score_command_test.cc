#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/fake_model.h"
#include "tests/client/cli/run_skipstone.h"
#include "tests/server/fake_server.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using nlohmann::json;
using server::FakeServer;
using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::StartsWith;

CliResult Score(FakeServer& server, std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"score", "--server", server.server().grpc_address()});
  return RunSkipstone(flags);
}

// By the Score RPC itself.
double LogprobSum(FakeServer& server, const std::string& text, const std::string& spec) {
  v1::ScoreRequest request;
  request.add_items()->mutable_prompt()->set_text(text);
  request.mutable_skip()->set_spec(spec);
  const auto response = Client(server.channel()).Score(request);
  EXPECT_TRUE(response.ok()) << response.status();
  return response->results(0).logprob_sum();
}

TEST(ScoreCommandTest, NumbersAreThoseOfTheScoreCall) {
  FakeServer server;
  for (const std::string spec : {"none", "attn:2-3", "win:2-3/32"}) {
    const CliResult result = Score(server, {"--json", "--skip", spec, "1 2 3 4 5 6"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const json score = json::parse(result.out);
    const double sum = LogprobSum(server, "1 2 3 4 5 6", spec);
    EXPECT_NEAR(sum, FakeLogprobSum({1, 2, 3, 4, 5, 6}, spec), 1e-4);
    EXPECT_EQ(score["tokens"], 5);
    EXPECT_EQ(score["windows"], 1);
    EXPECT_NEAR(score["logprob_sum"].get<double>(), sum, 1e-6);
    EXPECT_NEAR(score["nats_per_token"].get<double>(), -sum / 5, 1e-6);
    EXPECT_NEAR(score["perplexity"].get<double>(), std::exp(-sum / 5), 1e-3);
    EXPECT_EQ(score["skip"], spec);
    EXPECT_GE(score["seconds"].get<double>(), 0);
    EXPECT_GT(score["kv_pages_used"].get<int>(), 0);
    EXPECT_EQ(score["kv_pages_omitted"].get<int>() > 0, spec == "attn:2-3");
  }
}

TEST(ScoreCommandTest, CountsThePagesOfEachState) {
  FakeServer server;
  std::string text;
  for (int i = 0; i < 60; ++i) text += "7 ";
  const CliResult result = Score(server, {"--json", "--skip=attn:3+win:2/16", text});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json score = json::parse(result.out);
  // 59 tokens were stored: 15 blocks, of which a window of 16 needs the sink's 4 and the last 4.
  EXPECT_EQ(score["kv_pages_used"], 2 * 15 + 8);
  EXPECT_EQ(score["kv_pages_windowed"], 7);
  EXPECT_EQ(score["kv_pages_omitted"], 15);
  const CliResult table = Score(server, {"--skip=attn:3+win:2/16", text});
  EXPECT_THAT(table.out, HasSubstr("KV pages  windowed  omitted"));
  EXPECT_THAT(table.out, ContainsRegex(" 38 +7 +15 "));
}

TEST(ScoreCommandTest, WindowsAreScoredApartAndAddedUp) {
  FakeServer server;
  const CliResult result = Score(server, {"--json", "--window=3", "1 2 3 4 5 6 7 8"});
  const json score = json::parse(result.out);
  EXPECT_EQ(score["windows"], 3);
  EXPECT_EQ(score["window_tokens"], 3);
  EXPECT_EQ(score["tokens"], 5);
  EXPECT_NEAR(score["logprob_sum"].get<double>(),
              LogprobSum(server, "1 2 3", "none") + LogprobSum(server, "4 5 6", "none") +
                  LogprobSum(server, "7 8", "none"),
              1e-6);
}

TEST(ScoreCommandTest, TableShowsPerplexity) {
  FakeServer server;
  const double sum = LogprobSum(server, "1 2 3", "none");
  const CliResult result = Score(server, {"1 2 3"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("perplexity"));
  EXPECT_THAT(result.out, HasSubstr(absl::StrFormat("%.4f", -sum / 2)));
  EXPECT_THAT(result.out, HasSubstr(absl::StrFormat("%.2f", std::exp(-sum / 2))));
}

TEST(ScoreCommandTest, TokensAreListedOnDemand) {
  FakeServer server;
  const json score = json::parse(Score(server, {"1 2 3", "--tokens", "--json"}).out);
  ASSERT_EQ(score["token_logprobs"].size(), 2);
  EXPECT_EQ(score["token_logprobs"][1]["id"], 3);
  EXPECT_NEAR(score["token_logprobs"][0]["logprob"].get<double>() +
                  score["token_logprobs"][1]["logprob"].get<double>(),
              score["logprob_sum"].get<double>(), 1e-6);
  EXPECT_FALSE(json::parse(Score(server, {"1 2 3", "--json"}).out).contains("token_logprobs"));
  EXPECT_THAT(Score(server, {"1 2 3", "--tokens"}).out, StartsWith("id  token  logprob\n"));
}

TEST(ScoreCommandTest, ReadsFiles) {
  FakeServer server;
  const TempDir dir;
  // Longer than one read.
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "7 ";
  const std::string file = dir.Write("text", text);
  const json score = json::parse(Score(server, {"--json", "--window=50", "--file", file}).out);
  EXPECT_EQ(score["windows"], 60);
  EXPECT_EQ(score["tokens"], 60 * 49);
}

TEST(ScoreCommandTest, IdsAreScoredLikeTheirText) {
  FakeServer server;
  const TempDir dir;
  json text = json::parse(Score(server, {"--json", "--window=3", "1 2 3 4 5"}).out);
  text.erase("seconds");
  for (const std::string& ids : {std::string("1,2,3,4,5"), "@" + dir.Write("ids", "1 2 3 4 5\n")}) {
    json score = json::parse(Score(server, {"--json", "--window=3", "--ids", ids}).out);
    score.erase("seconds");
    EXPECT_EQ(score, text);
  }
}

TEST(ScoreCommandTest, ATextOfSeveralCallsHasTheSumsOfOne) {
  FakeServer server;
  std::string text;
  v1::ScoreRequest request;
  for (int window = 0; window < 100; ++window) {  // 7 calls of 16 windows
    std::string part;
    for (int i = 0; i < 5; ++i) part += absl::StrFormat("%d ", 1 + (window * 7 + i * 3) % 99);
    text += part;
    part.pop_back();
    request.add_items()->mutable_prompt()->set_text(part);
  }
  const auto one = Client(server.channel()).Score(request);
  ASSERT_TRUE(one.ok()) << one.status();
  double sum = 0;
  uint64_t pages = 0;
  for (const v1::ScoreResult& result : one->results()) {
    sum += result.logprob_sum();
    pages += result.kv_pages_used();
  }
  text.pop_back();
  const json score = json::parse(Score(server, {"--json", "--window=5", text}).out);
  EXPECT_EQ(score["windows"], 100);
  EXPECT_EQ(score["logprob_sum"], sum);
  EXPECT_EQ(score["kv_pages_used"], pages);
}

TEST(ScoreCommandTest, FilesThatCannotBeReadAreNamed) {
  const TempDir dir;
  for (const std::string& path : {dir.path() + "/none", dir.path()}) {
    const CliResult result = RunSkipstone({"score", "--file", path});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, AllOf(HasSubstr("--file"), HasSubstr(path)));
  }
}

TEST(ScoreCommandTest, SeveralSkipsAreComparedRowByRow) {
  FakeServer server;
  const std::vector<std::string> specs = {"none", "attn:2-3", "win:2-3/32"};
  const CliResult result =
      Score(server, {"--json", "--skip=none;attn:last=50%;win:last=50%/32", "1 2 3 4"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json scores = json::parse(result.out);
  ASSERT_EQ(scores.size(), specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    EXPECT_EQ(scores[i]["skip"], specs[i]);
    EXPECT_NEAR(scores[i]["logprob_sum"].get<double>(), FakeLogprobSum({1, 2, 3, 4}, specs[i]),
                1e-4);
  }
  const CliResult table = Score(server, {"--skip=none;attn:2-3", "--tokens", "1 2 3"});
  EXPECT_THAT(table.out, ContainsRegex("--- none ---\nid .*\n--- attn:2-3 ---\nid "));
  EXPECT_THAT(table.out, ContainsRegex("\nskip .*\nnone .*\nattn:2-3 "));
}

TEST(ScoreCommandTest, WhatCameBeforeAnErrorIsPrinted) {
  FakeServer server;
  const CliResult result = Score(server, {"--skip=none;nowhere;attn:3", "1 2 3"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, ContainsRegex("\nnone "));
  EXPECT_THAT(result.err, HasSubstr("nowhere"));
}

TEST(ScoreCommandTest, WrongUsage) {
  EXPECT_EQ(RunSkipstone({"score"}).exit_code, 2);
  EXPECT_EQ(RunSkipstone({"score", "--file=f", "text"}).exit_code, 2);
  EXPECT_EQ(RunSkipstone({"score", "--file=f", "--ids=1,2"}).exit_code, 2);
  EXPECT_EQ(RunSkipstone({"score", "--ids=1,2", "text"}).exit_code, 2);
  EXPECT_THAT(RunSkipstone({"score", "--ids=1,?"}).err, HasSubstr("--ids: id 2 is \"?\""));
  const CliResult window = RunSkipstone({"score", "--window=1", "text"});
  EXPECT_EQ(window.exit_code, 2);
  EXPECT_THAT(window.err, HasSubstr("--window must be at least 2, not 1"));
}

TEST(ScoreCommandTest, TextsWithoutTokensAreErrors) {
  FakeServer server;
  const TempDir dir;
  for (const std::string& text : {std::string(), std::string("5")}) {
    const CliResult result = Score(server, {"--file", dir.Write("text", text)});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("INVALID_ARGUMENT"));
  }
}

}  // namespace
}  // namespace skipstone::client
