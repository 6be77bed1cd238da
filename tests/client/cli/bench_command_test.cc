#include <algorithm>
#include <barrier>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
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
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using testing::UnorderedElementsAre;

CliResult Bench(const std::string& address, std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"bench", "--server", address, "--timeout=60s"});
  return RunSkipstone(flags);
}

CliResult Bench(FakeServer& server, std::vector<std::string> flags) {
  return Bench(server.server().grpc_address(), std::move(flags));
}

json BenchJson(FakeServer& server, std::vector<std::string> flags) {
  flags.push_back("--json");
  const CliResult result = Bench(server, std::move(flags));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out);
}

v1::GenerateEvent TokenEvent() {
  v1::GenerateEvent event = DeltaEvent("x");
  event.mutable_delta()->add_tokens()->set_id(7);
  return event;
}

// A server of a model with 50 ids and a context of 40 whose streams bring one token after `meet`.
void ServeLoad(ScriptedServer& server, std::function<void()> meet = {}) {
  server.Answer<v1::GetModelRequest, v1::GetModelResponse>([](const auto&, auto& model) {
    model.set_vocab_size(50);
    model.set_max_context_tokens(40);
  });
  server.SetStream([meet](grpc::ServerContext&, ScriptedServer::Writer& writer) {
    if (meet) meet();
    writer.Write(TokenEvent());
    return grpc::Status::OK;
  });
}

// How many streams were open at once at most. Thread-safe.
class OpenStreams {
 public:
  void Begin() {
    std::lock_guard lock(mutex_);
    most_ = std::max(most_, ++open_);
  }
  void End() {
    std::lock_guard lock(mutex_);
    --open_;
  }
  int most() {
    std::lock_guard lock(mutex_);
    return most_;
  }

 private:
  std::mutex mutex_;
  int open_ = 0;
  int most_ = 0;
};

// The GenerateStream requests that it saw.
std::vector<std::string> Requests(ScriptedServer& server) {
  std::vector<std::string> requests;
  for (const SeenCall& call : server.calls()) {
    if (call.method == "GenerateStream") requests.push_back(call.request);
  }
  return requests;
}

TEST(BenchCommandTest, ClosedLoopKeepsSoManyOpen) {
  std::barrier three(3);  // no request ends before three have come
  OpenStreams open;
  ScriptedServer server;
  ServeLoad(server, [&] {
    open.Begin();
    three.arrive_and_wait();
    open.End();
  });
  const CliResult result = Bench(server.address(), {"--concurrency=3", "--requests=9", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(open.most(), 3);
  const json report = json::parse(result.out);
  EXPECT_EQ(report["loop"], "closed");
  EXPECT_EQ(report["all"]["ok"], 9);
}

TEST(BenchCommandTest, OneIsOpenByDefault) {
  OpenStreams open;
  ScriptedServer server;
  ServeLoad(server, [&] {
    open.Begin();
    open.End();
  });
  ASSERT_EQ(Bench(server.address(), {"--requests=20"}).exit_code, 0);
  EXPECT_EQ(open.most(), 1);
  EXPECT_EQ(Requests(server).size(), 20);
}

TEST(BenchCommandTest, OpenLoopDoesNotWaitForAnswers) {
  std::barrier all(8);
  ScriptedServer server;
  ServeLoad(server, [&] { all.arrive_and_wait(); });
  const CliResult result = Bench(server.address(), {"--rate=2000", "--requests=8", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json report = json::parse(result.out);
  EXPECT_EQ(report["loop"], "open");
  EXPECT_EQ(report["all"]["ok"], 8);
  EXPECT_EQ(report["start_lag_ms"]["count"], 8);
}

TEST(BenchCommandTest, TraceIsReplayed) {
  const TempDir dir;
  const std::string trace = dir.Write("trace.csv",
                                      "TIMESTAMP,ContextTokens,GeneratedTokens\n"
                                      "2023-11-16 18:15:46.0000000,3,2\n"
                                      "2023-11-16 18:15:56.0000000,1,4\n"
                                      "2023-11-16 18:15:57.0000000,200,5\n");
  ScriptedServer server;
  ServeLoad(server);
  const CliResult result =
      Bench(server.address(), {"--trace", trace, "--time_scale=0.01", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json report = json::parse(result.out);
  EXPECT_EQ(report["loop"], "open");
  EXPECT_EQ(report["shortened"], 1);
  EXPECT_GE(report["seconds"], 0.11);
  // The last two are sent 10 ms apart, and may pass each other on their way.
  EXPECT_THAT(Requests(server),
              UnorderedElementsAre(HasSubstr("max_tokens: 2"), HasSubstr("max_tokens: 4"),
                                   HasSubstr("max_tokens: 5")));
}

TEST(BenchCommandTest, MixIsReportedPerLevelAndInAll) {
  FakeServer server;
  const json report = BenchJson(server, {"--requests=60", "--concurrency=4", "--prompt_tokens=5-9",
                                         "--output_tokens=4", "--skip=full@50;attn:last=1@50"});
  const json& all = report["all"];
  const json& full = report["levels"]["full"];
  const json& skipped = report["levels"]["attn:last=1"];
  EXPECT_EQ(report["levels"].size(), 2);
  EXPECT_EQ(all["requests"], 60);
  EXPECT_EQ(all["output_tokens"], 240);
  EXPECT_EQ(all["failures"], json::object());
  for (const char* key : {"requests", "ok", "prompt_tokens", "output_tokens", "kv_pages_used",
                          "kv_pages_windowed", "kv_pages_omitted"}) {
    EXPECT_EQ(full[key].get<int>() + skipped[key].get<int>(), all[key].get<int>()) << key;
  }
  for (const char* key : {"ttft_ms", "itl_ms", "tpot_ms", "e2e_ms"}) {
    EXPECT_EQ(full[key]["count"].get<int>() + skipped[key]["count"].get<int>(),
              all[key]["count"].get<int>());
    EXPECT_TRUE(all[key].contains("mean"));
  }
  // Not of the times between tokens: the fake is so fast that one message may bring all of them.
  for (const char* key : {"ttft_ms", "e2e_ms"}) {
    EXPECT_GT(all[key]["max"].get<double>(), 0);
    EXPECT_LE(all[key]["p50"].get<double>(), all[key]["p90"].get<double>());
    EXPECT_LE(all[key]["p90"].get<double>(), all[key]["p99"].get<double>());
  }
  EXPECT_GT(full["requests"], 10);
  EXPECT_GT(skipped["requests"], 10);
  EXPECT_EQ(full["kv_pages_omitted"], 0);
  // One layer of four.
  EXPECT_EQ(skipped["kv_pages_omitted"].get<int>() * 3, skipped["kv_pages_used"].get<int>());
  EXPECT_NEAR(all["output_tokens_per_s"].get<double>(), 240 / report["seconds"].get<double>(),
              1e-6);
}

TEST(BenchCommandTest, TablesNameLevelsAndPercentiles) {
  FakeServer server;
  const CliResult result = Bench(server, {"--requests=20", "--prompt_tokens=4", "--output_tokens=2",
                                          "--skip=full;attn:last=1"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* text : {"TTFT  full", "ITL   attn:last=1", "TPOT  all", "E2E   all", "p50",
                           "p90", "p99", "mean", "closed loop", "output tokens/s"}) {
    EXPECT_THAT(result.out, HasSubstr(text));
  }
  EXPECT_EQ(result.err, "");
}

TEST(BenchCommandTest, ACeilingGoesWithEveryPartOfTheMix) {
  FakeServer server({.yaml = "levels: {full: none, deep: 'attn:last=2'}"});
  const std::vector<std::string> flags = {"--requests=20", "--prompt_tokens=4", "--output_tokens=2",
                                          "--skip=full;attn:last=1"};
  const auto with = [&](const std::string& ceiling) {
    std::vector<std::string> all = flags;
    all.push_back("--ceiling=" + ceiling);
    return all;
  };
  EXPECT_THAT(Bench(server, with("deep")).out, HasSubstr("browned out"));
  const json report = BenchJson(server, with("attn:last=1"));
  EXPECT_EQ(report["all"]["failures"], json::object());
  EXPECT_EQ(report["all"]["browned_out"], 0) << "the server is idle";
  EXPECT_EQ(report["all"]["shed"], 0);
  // It does not contain what the other part asks for.
  EXPECT_EQ(BenchJson(server, with("none"))["levels"]["attn:last=1"]["ok"], 0);
  EXPECT_THAT(Bench(server, flags).out, Not(HasSubstr("browned out")));
}

TEST(BenchCommandTest, GoodputCountsThoseThatKeepTheLimits) {
  FakeServer server;
  const json kept = BenchJson(server, {"--requests=5", "--prompt_tokens=4", "--output_tokens=2",
                                       "--goodput=ttft:60000,itl:60000,tpot:60000,e2e:60000"});
  EXPECT_EQ(kept["all"]["good"], 5);
  EXPECT_EQ(kept["all"]["goodput_per_s"], kept["all"]["requests_per_s"]);
  const json broken = BenchJson(server, {"--requests=5", "--prompt_tokens=4", "--output_tokens=2",
                                         "--goodput=ttft:0.000001"});
  EXPECT_EQ(broken["all"]["ok"], 5);
  EXPECT_EQ(broken["all"]["good"], 0);
}

TEST(BenchCommandTest, RequestsFitTheContext) {
  FakeServer server;  // of 64 tokens
  const json report =
      BenchJson(server, {"--requests=4", "--prompt_tokens=100", "--output_tokens=10"});
  EXPECT_EQ(report["shortened"], 4);
  EXPECT_EQ(report["all"]["prompt_tokens"], 4 * 54);
  EXPECT_EQ(report["all"]["output_tokens"], 4 * 10);
}

TEST(BenchCommandTest, DurationEndsARunWithoutANumberOfRequests) {
  FakeServer server;
  const json report = BenchJson(
      server, {"--duration=150ms", "--concurrency=2", "--prompt_tokens=4", "--output_tokens=2"});
  EXPECT_GT(report["all"]["ok"], 0);
}

TEST(BenchCommandTest, ASeedDecidesTheRequests) {
  const auto requests = [](const std::string& seed) {
    ScriptedServer server;
    ServeLoad(server);
    EXPECT_EQ(Bench(server.address(),
                    {"--requests=5", "--seed", seed, "--skip=none;full", "--prompt_tokens=5-20"})
                  .exit_code,
              0);
    return Requests(server);
  };
  EXPECT_EQ(requests("3"), requests("3"));
  EXPECT_NE(requests("3"), requests("4"));
}

TEST(BenchCommandTest, ProgressLineShowsWhileItRuns) {
  Gate shown;
  shown.Close();
  ScriptedServer server;
  ServeLoad(server, [&] { shown.Pass(); });
  std::istringstream in;
  std::ostringstream out;
  WatchedOutput buffer([&](const std::string& text) {
    if (text.find("1 sent, 1 open, 0 done, 0 failed") != std::string::npos) shown.Open();
  });
  std::ostream err(&buffer);
  Io io{in, out, err, /*err_is_terminal=*/true};
  const std::vector<std::string> line = {"bench", "--server", server.address(), "--timeout=60s",
                                         "--requests=1"};
  EXPECT_EQ(RunCli(line, io), 0);
  EXPECT_TRUE(buffer.str().ends_with("\r\x1b[K"));
}

TEST(BenchCommandTest, RefusalsAreCountedAndNotRetried) {
  ScriptedServer server;
  ServeLoad(server);
  server.SetStream([](grpc::ServerContext& context, ScriptedServer::Writer&) {
    context.AddTrailingMetadata("grpc-retry-pushback-ms", "0");
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full");
  });
  const CliResult result = Bench(server.address(), {"--requests=3", "--json"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err, "skipstone bench: RESOURCE_EXHAUSTED: the queue is full\n");
  const json all = json::parse(result.out)["all"];
  EXPECT_EQ(all["requests"], 3);
  EXPECT_EQ(all["ok"], 0);
  EXPECT_EQ(all["failures"]["RESOURCE_EXHAUSTED"]["count"], 3);
  EXPECT_EQ(all["failures"]["RESOURCE_EXHAUSTED"]["message"], "the queue is full");
  EXPECT_TRUE(all["ttft_ms"]["mean"].is_null());
  EXPECT_EQ(Requests(server).size(), 3);
}

TEST(BenchCommandTest, LevelsThatFailAreNamedBesideThoseThatWork) {
  FakeServer server;
  const CliResult result = Bench(server, {"--requests=20", "--prompt_tokens=4", "--output_tokens=2",
                                          "--skip=full;attn:last=99"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("failed with INVALID_ARGUMENT: "));
  const CliResult none = Bench(server, {"--requests=2", "--skip=no-such-level"});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, AllOf(HasSubstr("NOT_FOUND"), HasSubstr("no-such-level")));
}

TEST(BenchCommandTest, AnswersWithoutTokensAreAFailure) {
  ScriptedServer server;
  ServeLoad(server);
  server.SetStream({});
  const CliResult result = Bench(server.address(), {"--requests=2"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("no request brought a token"));
}

TEST(BenchCommandTest, TimeoutHoldsForEachRequest) {
  FakeServer server;
  server.gate().Close();
  const CliResult result = Bench(server, {"--requests=2", "--timeout=100ms"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("DEADLINE_EXCEEDED"));
  server.gate().Open();
}

TEST(BenchCommandTest, WrongFlagsAreNamedWithTheirValue) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--rate=1", "--concurrency=2"}, "give one of --rate, --concurrency and --trace"},
      {{"--rate=1", "--trace=f"}, "give one of --rate, --concurrency and --trace"},
      {{"--rate=0"}, "--rate must be a number above 0, not 0"},
      {{"--rate=nan"}, "--rate must be a number above 0, not nan"},
      {{"--rate=inf"}, "--rate must be a number above 0, not inf"},
      {{"--rate=fast"}, "--rate: 'fast' is not"},
      {{"--concurrency=0"}, "--concurrency must be at least 1, not 0"},
      {{"--concurrency=-1"}, "--concurrency: '-1' is not"},
      {{"--requests=0"}, "--requests must be at least 1, not 0"},
      {{"--duration=0s"}, "--duration must be more than 0, not 0"},
      {{"--duration=10"}, "--duration: '10' is not"},
      {{"--time_scale=-1"}, "--time_scale must be a number of at least 0, not -1"},
      {{"--time_scale=inf"}, "--time_scale must be a number of at least 0, not inf"},
      {{"--prompt_tokens=9-3"}, "--prompt_tokens: \"9-3\" is not"},
      {{"--output_tokens=0"}, "--output_tokens: \"0\" is not"},
      {{"--skip=full@x"}, "--skip: \"full@x\" is not"},
      {{"--skip=full;full"}, "--skip: \"full\" is there twice"},
      {{"--goodput=ttft"}, "--goodput: \"ttft\" is not"},
      {{"--seed=x"}, "--seed: 'x' is not"},
      {{"surplus"}, "unexpected \"surplus\""},
  };
  for (const auto& [flags, message] : cases) {
    const CliResult result = Bench("unix:/none", flags);
    EXPECT_EQ(result.exit_code, 2) << flags[0];
    EXPECT_THAT(result.err, StartsWith("skipstone bench: " + message));
  }
}

TEST(BenchCommandTest, TracesThatCannotBeReadAreNamed) {
  const TempDir dir;
  const std::string malformed = dir.Write("trace.csv", "0,1,1\n1,two,3\n");
  const CliResult bad = Bench("unix:/none", {"--trace", malformed});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_THAT(bad.err,
              AllOf(HasSubstr("--trace " + malformed), HasSubstr("line 2"), HasSubstr("1,two,3")));
  const std::string absent = dir.path() + "/none.csv";
  const CliResult none = Bench("unix:/none", {"--trace", absent});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, AllOf(HasSubstr("--trace"), HasSubstr(absent)));
  EXPECT_EQ(Bench("unix:/none", {"--trace", dir.path()}).exit_code, 1);
}

}  // namespace
}  // namespace skipstone::client
