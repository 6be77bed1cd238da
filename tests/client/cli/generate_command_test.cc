#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/fake_model.h"
#include "tests/client/cli/run_skipstone.h"
#include "tests/client/scripted_server.h"
#include "tests/server/fake_server.h"
#include "tests/support/gate.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using nlohmann::json;
using server::FakeServer;
using testing::AllOf;
using testing::ContainsRegex;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

CliResult Generate(const std::string& address, std::vector<std::string> flags,
                   const std::string& input = "") {
  flags.insert(flags.begin(), {"generate", "--server", address, "--timeout=60s"});
  return RunSkipstone(flags, input);
}

CliResult Generate(FakeServer& server, std::vector<std::string> flags,
                   const std::string& input = "") {
  return Generate(server.server().grpc_address(), std::move(flags), input);
}

TEST(GenerateCommandTest, PrintsTextOnOutAndASummaryOnErr) {
  FakeServer server;
  const CliResult result = Generate(server, {"5 6 7", "--max_tokens", "6"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, FakeText(FakeOutput({5, 6, 7}, "none", 6)) + "\n");
  // 8 of 9 tokens are stored: 2 pages of 4 tokens in each of 4 layers.
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("3 prompt tokens, 6 tokens, "),
                    HasSubstr("KV pages 8 used + 0 windowed + 0 omitted, skip full (none), "
                              "MAX_TOKENS\n")));
}

TEST(GenerateCommandTest, SkipsWhatTheFlagSays) {
  FakeServer server({.yaml = "levels: {full: none, half: 'attn:last=50%'}"});
  const std::string skipped = FakeText(FakeOutput({5, 6}, "attn:last=2", 5)) + "\n";
  const CliResult level = Generate(server, {"5 6", "--max_tokens=5", "--skip", "half"});
  EXPECT_EQ(level.out, skipped);
  EXPECT_THAT(level.err, HasSubstr("skip half (attn:2-3)"));
  const CliResult spec = Generate(server, {"5 6", "--max_tokens=5", "--skip", "attn:last=2"});
  EXPECT_EQ(spec.out, skipped);
  EXPECT_THAT(spec.err, HasSubstr("KV pages 4 used + 0 windowed + 4 omitted"));

  const CliResult windowed = Generate(server, {"5 6", "--max_tokens=5", "--skip=win:last=50%/32"});
  EXPECT_EQ(windowed.out, FakeText(FakeOutput({5, 6}, "win:2-3/32", 5)) + "\n");
  EXPECT_THAT(windowed.err, HasSubstr("skip custom (win:2-3/32)"));

  const CliResult unknown = Generate(server, {"5 6", "--skip", "deeper"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, AllOf(HasSubstr("NOT_FOUND"), HasSubstr("deeper"), HasSubstr("half")));
  const CliResult malformed = Generate(server, {"5 6", "--skip", "attn:last=9"});
  EXPECT_EQ(malformed.exit_code, 1);
  EXPECT_THAT(malformed.err, HasSubstr("INVALID_ARGUMENT"));
  EXPECT_EQ(malformed.out, "");
  const CliResult wide = Generate(server, {"5 6", "--skip", "win:last=1/72"});
  EXPECT_EQ(wide.exit_code, 1);
  EXPECT_THAT(wide.err, HasSubstr("layer 3 has a window of 72 tokens"));
}

TEST(GenerateCommandTest, TextAppearsAsItComes) {
  Gate shown;
  shown.Close();
  ScriptedServer server;
  server.SetStream([&](grpc::ServerContext&, ScriptedServer::Writer& writer) {
    writer.Write(DeltaEvent("first"));
    shown.Pass();  // opened by the output that has it
    writer.Write(DeltaEvent(" second"));
    writer.Write(FinishedEvent(v1::STOP));
    return grpc::Status::OK;
  });
  std::istringstream in;
  std::ostringstream err;
  WatchedOutput buffer([&](const std::string& text) {
    if (text == "first") shown.Open();
  });
  std::ostream out(&buffer);
  Io io{in, out, err};
  const std::vector<std::string> line = {"generate", "--server", server.address(), "x"};
  EXPECT_EQ(RunCli(line, io), 0);
  EXPECT_EQ(buffer.str(), "first second\n");
}

TEST(GenerateCommandTest, JsonIsOneObject) {
  FakeServer server;
  const CliResult result =
      Generate(server, {"5 6 7", "--max_tokens=3", "--seed=9", "--logprobs=0", "--json"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  const json answer = json::parse(result.out);
  EXPECT_EQ(answer["prompt_tokens"], 3);
  EXPECT_EQ(answer["seed"], 9);
  EXPECT_EQ(answer["applied_skip"]["level"], "full");
  EXPECT_EQ(answer["applied_skip"]["skip_id"].get<std::string>().size(), 16);
  ASSERT_EQ(answer["outputs"].size(), 1);
  const json& output = answer["outputs"][0];
  const std::vector<int32_t> ids = FakeOutput({5, 6, 7}, "none", 3);
  EXPECT_EQ(output["text"], FakeText(ids));
  ASSERT_EQ(output["tokens"].size(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(output["tokens"][i]["id"], ids[i]);
  EXPECT_EQ(output["reason"], "MAX_TOKENS");
  EXPECT_EQ(output["usage"]["completion_tokens"], 3);
  EXPECT_GT(output["ttft_ms"].get<double>(), 0);
  EXPECT_TRUE(output["timing"].contains("e2e_ms"));
  EXPECT_EQ(output["kv_pages_used"], 8);
}

TEST(GenerateCommandTest, StopsAtTheGivenText) {
  FakeServer server;
  const std::vector<int32_t> ids = FakeOutput({5, 6, 7}, "none", 20);
  const std::string text = FakeText(ids);
  const std::string stop = absl::StrFormat(" %d", ids[4]);
  const CliResult result =
      Generate(server, {"5 6 7", "--max_tokens=20", "--stop=never", "--stop", stop});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, text.substr(0, text.find(stop)) + "\n");
  EXPECT_THAT(result.err, HasSubstr("STOP_STRING"));
}

TEST(GenerateCommandTest, LogprobsAreATable) {
  FakeServer server;
  const CliResult result = Generate(server, {"5 6 7", "--max_tokens=2", "--logprobs", "1"});
  const std::vector<int32_t> ids = FakeOutput({5, 6, 7}, "none", 2);
  const float logprob = FakeLogprob(std::vector<int32_t>{5, 6, 7}, FakeSkip("none"), ids[0]);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr(FakeText(ids) + "\n"));
  EXPECT_THAT(result.out, AllOf(HasSubstr("token"), HasSubstr("alternatives")));
  EXPECT_THAT(result.out, HasSubstr(absl::StrFormat("%.4f", logprob)));
  // The fake's one alternative is what it drew.
  EXPECT_THAT(result.out, HasSubstr(absl::StrFormat(" %d %.3f\n", ids[0], logprob)));
  EXPECT_THAT(Generate(server, {"5", "--max_tokens=1"}).out, Not(HasSubstr("alternatives")));
}

TEST(GenerateCommandTest, SeveralOutputsAreNumbered) {
  FakeServer server;
  const std::string text = FakeText(FakeOutput({5, 6}, "none", 3));
  const CliResult result = Generate(server, {"5 6", "--max_tokens=3", "--n=2"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "[0] " + text + "\n[1] " + text + "\n");
  const CliResult as_json = Generate(server, {"5 6", "--max_tokens=3", "--n=2", "--json"});
  const json outputs = json::parse(as_json.out)["outputs"];
  ASSERT_EQ(outputs.size(), 2);
  EXPECT_EQ(outputs[1]["index"], 1);
  EXPECT_EQ(outputs[1]["text"], text);
}

TEST(GenerateCommandTest, SeveralSkipsAreComparedInATable) {
  FakeServer server({.yaml = "levels: {full: none, half: 'attn:last=50%'}"});
  const CliResult result =
      Generate(server, {"5 6", "--max_tokens=5", "--skip", "none;attn:last=1;half"});
  EXPECT_EQ(result.exit_code, 0);
  std::string texts;
  texts += "--- none ---\n" + FakeText(FakeOutput({5, 6}, "none", 5)) + "\n";
  texts += "--- attn:last=1 ---\n" + FakeText(FakeOutput({5, 6}, "attn:last=1", 5)) + "\n";
  texts += "--- half ---\n" + FakeText(FakeOutput({5, 6}, "attn:last=2", 5)) + "\n\n";
  ASSERT_THAT(result.out, StartsWith(texts));
  // 6 of 7 tokens are stored: 2 pages of 4 tokens in each of 4 layers, but for those skipped.
  EXPECT_THAT(result.out.substr(texts.size()),
              MatchesRegex("skip +tokens +tokens/s +TTFT ms +KV pages used +windowed +omitted\n"
                           "none +5 +[-.0-9]+ +[.0-9]+ +8 +0 +0\n"
                           "attn:last=1 +5 +[-.0-9]+ +[.0-9]+ +6 +0 +2\n"
                           "half +5 +[-.0-9]+ +[.0-9]+ +4 +0 +4\n"));
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("skip custom (attn:3)"), HasSubstr("skip half (attn:2-3)")));
}

TEST(GenerateCommandTest, ComparesThePagesOfWindowsToo) {
  FakeServer server;
  std::string prompt;
  for (int i = 0; i < 40; ++i) prompt += "5 ";
  const CliResult result =
      Generate(server, {prompt, "--max_tokens=5", "--skip", "none;win:last=2/16;attn:3+win:2/16"});
  EXPECT_EQ(result.exit_code, 0);
  // 44 stored tokens: 11 blocks, of which a window of 16 needs the sink's 4 and the last 4.
  EXPECT_THAT(result.out, ContainsRegex("none +5 +[-.0-9]+ +[.0-9]+ +44 +0 +0\n"
                                        "win:last=2/16 +5 +[-.0-9]+ +[.0-9]+ +38 +6 +0\n"
                                        "attn:3\\+win:2/16 +5 +[-.0-9]+ +[.0-9]+ +30 +3 +11\n"));
  EXPECT_THAT(result.err, HasSubstr("KV pages 30 used + 3 windowed + 11 omitted"));
}

TEST(GenerateCommandTest, ComparedSkipsAsJsonAreAnArrayInTheirOrder) {
  FakeServer server;
  const std::vector<std::string> skips = {"attn:last=2", "none", "attn:last=2"};
  const CliResult result =
      Generate(server, {"5 6", "--max_tokens=5", "--json", "--skip", absl::StrJoin(skips, ";")});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  const json answers = json::parse(result.out);
  ASSERT_EQ(answers.size(), skips.size());
  for (size_t i = 0; i < skips.size(); ++i) {
    const json& output = answers[i]["outputs"][0];
    EXPECT_EQ(output["text"], FakeText(FakeOutput({5, 6}, skips[i], 5))) << i;
    EXPECT_EQ(output["kv_pages_omitted"], skips[i] == "none" ? 0 : 4) << i;
  }
}

TEST(GenerateCommandTest, ComparedRequestsShareNoPromptPages) {
  ScriptedServer server;
  EXPECT_EQ(Generate(server.address(), {"a", "--seed=7", "--skip=attn-33;attn:1"}).exit_code, 0);
  v1::GenerateRequest want;
  want.set_text("a");
  want.mutable_sampling()->set_seed(7);
  want.mutable_skip()->set_level("attn-33");
  want.set_cache_salt("attn-33");
  ASSERT_EQ(server.calls().size(), 2);
  EXPECT_EQ(server.calls()[0].request, want.ShortDebugString());
  want.mutable_skip()->set_spec("attn:1");
  want.set_cache_salt("attn:1");
  EXPECT_EQ(server.calls()[1].request, want.ShortDebugString());
}

TEST(GenerateCommandTest, AComparisonEndsAtAnUnknownLevelAndShowsWhatRan) {
  FakeServer server({.yaml = "levels: {full: none, half: 'attn:last=50%'}"});
  const std::string text = FakeText(FakeOutput({5, 6}, "attn:last=2", 3));
  const CliResult result =
      Generate(server, {"5 6", "--max_tokens=3", "--skip", "half;deeper;none"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("NOT_FOUND"), HasSubstr("deeper")));
  EXPECT_THAT(result.out, StartsWith("--- half ---\n" + text + "\n--- deeper ---\n"));
  EXPECT_THAT(result.out, ContainsRegex("\nhalf +3 .* 2 +0 +2\n$"));
  EXPECT_THAT(result.out, Not(HasSubstr("--- none ---")));

  const CliResult first = Generate(server, {"5 6", "--json", "--skip", "deeper;none"});
  EXPECT_EQ(first.exit_code, 1);
  EXPECT_EQ(first.out, "");
}

TEST(GenerateCommandTest, AComparisonEndsAtABrokenStreamAndShowsWhatCame) {
  ScriptedServer server;
  server.SetStream([&](grpc::ServerContext&, ScriptedServer::Writer& writer) {
    if (absl::StrContains(server.calls().back().request, "low")) {
      writer.Write(DeltaEvent("so far"));
      return grpc::Status(grpc::StatusCode::INTERNAL, "out of luck");
    }
    writer.Write(DeltaEvent("all of it"));
    writer.Write(FinishedEvent(v1::STOP));
    return grpc::Status::OK;
  });
  const CliResult result = Generate(server.address(), {"a", "--skip=none;low;high"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, StartsWith("--- none ---\nall of it\n--- low ---\nso far\n\nskip "));
  EXPECT_THAT(result.out, ContainsRegex("\nnone +0 .* 0\n$"));
  EXPECT_THAT(result.err, EndsWith("skipstone generate: INTERNAL: out of luck\n"));
  ASSERT_EQ(server.calls().size(), 2);

  const CliResult as_json = Generate(server.address(), {"a", "--json", "--skip=none;low;high"});
  EXPECT_EQ(as_json.exit_code, 1);
  const json answers = json::parse(as_json.out);
  ASSERT_EQ(answers.size(), 2);
  EXPECT_EQ(answers[0]["outputs"][0]["text"], "all of it");
  EXPECT_EQ(answers[1]["outputs"][0]["text"], "so far");
}

TEST(GenerateCommandTest, ADashReadsStandardInput) {
  FakeServer server;
  const CliResult result = Generate(server, {"-", "--max_tokens=2"}, "5 6\n7");
  EXPECT_EQ(result.exit_code, 0);
  // The fake's tokenizer parts words at spaces alone: "6\n7" is three characters.
  EXPECT_EQ(result.out, FakeText(FakeOutput({5, '6', '\n', '7'}, "none", 2)) + "\n");
  const CliResult empty = Generate(server, {"-"}, "");
  EXPECT_EQ(empty.exit_code, 1);
  EXPECT_THAT(empty.err, HasSubstr("INVALID_ARGUMENT"));
}

TEST(GenerateCommandTest, IdsAreThePrompt) {
  FakeServer server;
  const TempDir dir;
  for (const std::string& ids : {std::string("5,6,7"), "@" + dir.Write("ids", "[5, 6, 7]\n")}) {
    const CliResult result = Generate(server, {"--max_tokens=4", "--ids", ids});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.out, FakeText(FakeOutput({5, 6, 7}, "none", 4)) + "\n");
  }
  const CliResult compared =
      Generate(server, {"--max_tokens=4", "--ids=5,6,7", "--skip=none;attn:last=1"});
  EXPECT_THAT(compared.out, HasSubstr(FakeText(FakeOutput({5, 6, 7}, "attn:last=1", 4)) + "\n"));
}

TEST(GenerateCommandTest, AModelWithoutTextShowsItsIds) {
  ScriptedServer server;
  server.SetStream([](grpc::ServerContext&, ScriptedServer::Writer& writer) {
    for (const uint32_t id : {30u, 7u}) {
      v1::GenerateEvent event;
      event.mutable_delta()->add_tokens()->set_id(id);
      writer.Write(event);
    }
    writer.Write(FinishedEvent(v1::MAX_TOKENS));
    return grpc::Status::OK;
  });
  EXPECT_EQ(Generate(server.address(), {"--ids=1,5"}).out, "30 7\n");
}

TEST(GenerateCommandTest, IdsThatAreNoneAreNamedAndNotSent) {
  ScriptedServer server;
  const CliResult bad = Generate(server.address(), {"--ids=5,six"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.err, HasSubstr("--ids: id 2 is \"six\""));
  const TempDir dir;
  const CliResult in_file = Generate(server.address(), {"--ids=@" + dir.Write("ids", "5 six")});
  EXPECT_EQ(in_file.exit_code, 1);
  EXPECT_THAT(in_file.err, HasSubstr("id 2 is \"six\""));
  EXPECT_EQ(Generate(server.address(), {"--ids=5", "prompt"}).exit_code, 2);
  EXPECT_TRUE(server.calls().empty());
}

TEST(GenerateCommandTest, EveryFlagBecomesItsField) {
  ScriptedServer server;
  Generate(server.address(), {"--skip=attn-33",
                              "--ceiling=attn:last=50%",
                              "--max_tokens=7",
                              "--temperature=0.5",
                              "--top_p=0.25",
                              "--top_k=40",
                              "--min_p=0.125",
                              "--seed=18446744073709551615",
                              "--stop=a",
                              "--stop=b,c",
                              "--logprobs=3",
                              "--n=2",
                              "--ignore_eos",
                              "--experiment_key=u1",
                              "--min_tokens=2",
                              "--time_limit_ms=9",
                              "--noecho",
                              "--priority=-3",
                              "--repetition_penalty=1.5",
                              "--top_p=",
                              "--",
                              "--prompt"});
  v1::GenerateRequest want;
  want.set_text("--prompt");
  want.mutable_skip()->set_level("attn-33");
  want.mutable_skip()->mutable_adaptive()->set_ceiling_spec("attn:last=50%");
  want.mutable_sampling()->set_temperature(0.5);
  want.mutable_sampling()->set_repetition_penalty(1.5);
  want.mutable_sampling()->set_top_k(40);
  want.mutable_sampling()->set_min_p(0.125);
  want.mutable_sampling()->set_seed(18446744073709551615ull);
  want.mutable_stopping()->set_max_tokens(7);
  want.mutable_stopping()->add_stop_strings("a");
  want.mutable_stopping()->add_stop_strings("b,c");
  want.mutable_stopping()->set_ignore_eos(true);
  want.mutable_output()->set_logprobs(3);
  want.set_n(2);
  want.set_experiment_key("u1");
  want.mutable_stopping()->set_min_tokens(2);
  want.mutable_stopping()->set_time_limit_ms(9);
  want.mutable_output()->set_echo(false);
  want.set_priority(-3);
  ASSERT_EQ(server.calls().size(), 1);
  EXPECT_EQ(server.calls()[0].request, want.ShortDebugString());
}

TEST(GenerateCommandTest, HelpTellsRangeAndDefault) {
  const std::string help = RunSkipstone({"generate", "--help"}).out;
  EXPECT_THAT(help, HasSubstr("--temperature: a number\n      in [0, 2]; 0 is greedy; default 1"));
  EXPECT_THAT(help, HasSubstr("in (0, 1]; "));
  EXPECT_THAT(help, HasSubstr(">= 1; default: until the context is full\n"));
  EXPECT_THAT(help, HasSubstr("an end-of-sequence token; default false\n"));
  EXPECT_THAT(help, HasSubstr("up to 20 alternatives; print each token's"));
}

TEST(GenerateCommandTest, ACeilingGoesWithTheServersDefaultToo) {
  ScriptedServer server;
  Generate(server.address(), {"a", "--ceiling=attn-50"});
  ASSERT_EQ(server.calls().size(), 1);
  EXPECT_THAT(server.calls()[0].request,
              HasSubstr("skip { adaptive { ceiling_level: \"attn-50\" } }"));
}

TEST(GenerateCommandTest, ACeilingBelowTheChoiceIsRefused) {
  FakeServer server({.yaml = "levels: {full: none, half: 'attn:last=50%'}"});
  const CliResult above =
      Generate(server, {"5 6", "--max_tokens=2", "--skip=none", "--ceiling=half"});
  EXPECT_EQ(above.exit_code, 0) << above.err;
  const CliResult below = Generate(server, {"5 6", "--skip=half", "--ceiling=attn:last=1"});
  EXPECT_EQ(below.exit_code, 1);
  EXPECT_THAT(below.err, AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("skip.adaptive"),
                               HasSubstr("attn:3"), HasSubstr("attn:2-3")));
}

TEST(GenerateCommandTest, ShowsWhatTheLoadChanged) {
  ScriptedServer server;
  server.SetStream([](grpc::ServerContext&, ScriptedServer::Writer& writer) {
    v1::GenerateEvent accepted;
    accepted.mutable_accepted()->set_browned_out(true);
    accepted.mutable_accepted()->mutable_applied_skip()->set_level("deep");
    accepted.mutable_accepted()->mutable_applied_skip()->set_spec("attn:2-3");
    writer.Write(accepted);
    writer.Write(DeltaEvent("x"));
    v1::GenerateEvent finished = FinishedEvent(v1::MAX_TOKENS);
    v1::AppliedRange& range = *finished.mutable_finished()->add_applied();
    range.set_from_token(9);
    range.mutable_applied_skip()->set_spec("attn:1-3");
    writer.Write(finished);
    return grpc::Status::OK;
  });
  EXPECT_THAT(Generate(server.address(), {"a"}).err,
              HasSubstr("skip deep (attn:2-3), browned out, from token 9 attn:1-3, MAX_TOKENS"));
  const json answer = json::parse(Generate(server.address(), {"a", "--json"}).out);
  EXPECT_EQ(answer["browned_out"], true);
  EXPECT_EQ(answer["outputs"][0]["applied"][0]["from_token"], 9);
  EXPECT_EQ(answer["outputs"][0]["applied"][0]["applied_skip"]["spec"], "attn:1-3");
}

TEST(GenerateCommandTest, FlagsThatAreNotGivenAreNotSent) {
  ScriptedServer server;
  Generate(server.address(), {"a"});
  ASSERT_EQ(server.calls().size(), 1);
  EXPECT_EQ(server.calls()[0].request, "text: \"a\"");
}

TEST(GenerateCommandTest, BrokenStreamShowsWhatCameAndFails) {
  ScriptedServer server;
  server.SetStream([](grpc::ServerContext&, ScriptedServer::Writer& writer) {
    writer.Write(DeltaEvent("so far"));
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "drained");
  });
  const CliResult result = Generate(server.address(), {"a"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "so far\n");
  EXPECT_EQ(result.err, "skipstone generate: UNAVAILABLE: drained\n");
  const CliResult as_json = Generate(server.address(), {"a", "--json"});
  EXPECT_EQ(as_json.exit_code, 1);
  EXPECT_EQ(json::parse(as_json.out)["outputs"][0]["text"], "so far");
}

TEST(GenerateCommandTest, TimeoutEndsTheCommand) {
  FakeServer server;
  server.gate().Close();
  const CliResult result = Generate(server, {"5", "--timeout=100ms"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("DEADLINE_EXCEEDED"));
  server.gate().Open();
}

TEST(GenerateCommandTest, TextThatIsNotUtf8IsAnError) {
  FakeServer server;
  const CliResult result = Generate(server, {"5 \xff"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("UTF-8")));
  EXPECT_EQ(Generate(server, {"5", "--max_tokens=1"}).exit_code, 0);
}

}  // namespace
}  // namespace skipstone::client
