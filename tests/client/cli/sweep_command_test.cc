#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "base/hash.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/fake_model.h"
#include "tests/client/cli/run_skipstone.h"
#include "tests/client/scripted_server.h"
#include "tests/server/fake_server.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using nlohmann::json;
using server::FakeServer;
using testing::AllOf;
using testing::HasSubstr;

constexpr char kLevels[] = "levels: {half: 'attn:last=50%', full: none}\ndefault_level: full";

CliResult Sweep(const std::string& address, std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"sweep", "--server", address});
  return RunSkipstone(flags);
}
CliResult Sweep(FakeServer& server, std::vector<std::string> flags) {
  return Sweep(server.server().grpc_address(), std::move(flags));
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Files of each kind, for models whose texts are numbers.
class SweepCommandTest : public testing::Test {
 protected:
  SweepCommandTest() {
    std::string text;
    for (int i = 0; i < 40; ++i) text += std::to_string(1 + i * 7 % 90) + " ";
    text_ = dir_.Write("text", text);
    choices_ =
        dir_.Write("choices", R"({"query": "1 2 3", "choices": ["4", "5 6", "7"], "gold": 1})"
                              "\n"
                              R"({"query": "8 9", "choices": ["10 11", "12"], "gold": 0})"
                              "\n");
    last_words_ = dir_.Write("words", R"({"context": "1 2 3", "continuation": ")" +
                                          FakeText(FakeOutput({1, 2, 3}, "none", 2)) +
                                          R"("})"
                                          "\n" +
                                          R"({"context": "4 5", "continuation": "99"})" + "\n");
    prompts_ = dir_.Write("prompts", "1 2 3\n4 5 6\n7 8\n");
  }

  std::vector<std::string> All(const std::string& out) const {
    return {"--text=" + text_,
            "--choices=" + choices_,
            "--window=5",
            "--last_words=" + last_words_,
            "--prompts=" + prompts_,
            "--max_tokens=4",
            "--speed_runs=2",
            "--speed_tokens=10",
            "--out=" + dir_.path() + "/" + out,
            "--skips=full;half;win:2/16"};
  }
  std::string Report(const std::string& out) const {
    std::string all;
    for (const char* name : {"report.txt", "report.json", "report.html"}) {
      all += ReadAll(dir_.path() + "/" + out + "/" + name);
    }
    return all;
  }
  std::string Journal(const std::string& out) const {
    return ReadAll(dir_.path() + "/" + out + "/journal.jsonl");
  }
  // A folder with a journal of these bytes.
  void Begin(const std::string& out, const std::string& bytes) const {
    std::filesystem::create_directories(dir_.path() + "/" + out);
    dir_.Write(out + "/journal.jsonl", bytes);
  }

  TempDir dir_;
  std::string text_, choices_, last_words_, prompts_;
};

TEST_F(SweepCommandTest, NumbersAreThoseOfTheModel) {
  FakeServer server({.yaml = kLevels});
  const CliResult result = Sweep(
      server, {"--json", "--text=" + text_, "--window=5", "--last_words=" + last_words_,
               "--prompts=" + prompts_, "--max_tokens=4", "--speed_runs=1", "--speed_tokens=10"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json rows = json::parse(result.out)["rows"];
  ASSERT_EQ(rows.size(), 2);
  for (const auto& [row, spec] : {std::pair(rows[0], "none"), {rows[1], "attn:2-3"}}) {
    double sum = 0;
    for (int window = 0; window < 8; ++window) {
      std::vector<int32_t> ids;
      for (int i = 5 * window; i < 5 * window + 5; ++i) ids.push_back(1 + i * 7 % 90);
      sum += FakeLogprobSum(ids, spec);
    }
    EXPECT_NEAR(row["perplexity"]["value"].get<double>(), std::exp(-sum / 32), 1e-3);
    EXPECT_EQ(row["skip"], spec);
  }
  EXPECT_EQ(rows[0]["name"], "full");
  EXPECT_EQ(rows[0]["last_words"], 0.5);  // one of the two is what the fake draws
  EXPECT_EQ(rows[0]["recall"]["value"], 0);
  EXPECT_EQ(rows[0]["retention"], json({{"value", 1}, {"low", 1}, {"high", 1}}));
  EXPECT_LT(rows[1]["retention"]["value"].get<double>(), 1);
  EXPECT_LT(rows[1]["retention_prefix"]["value"].get<double>(), 1);
  EXPECT_EQ(rows[1]["pages"], 0.5);
  EXPECT_GT(rows[1]["decode_ms"].get<double>(), 0);
  EXPECT_TRUE(rows[1]["kl"].is_null());
  EXPECT_TRUE(rows[1]["accuracy"].is_null());  // there were no choices
}

TEST_F(SweepCommandTest, TheReportIsPrintedAndWritten) {
  FakeServer server({.yaml = kLevels});
  const CliResult result = Sweep(server, All("out"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, ReadAll(dir_.path() + "/out/report.txt"));
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("perplexity"), HasSubstr("last words %"), HasSubstr("acc_norm %"),
                    HasSubstr("retention %"), HasSubstr("decode ms/token")));
  EXPECT_EQ(json::parse(ReadAll(dir_.path() + "/out/report.json"))["rows"].size(), 3);
  EXPECT_THAT(ReadAll(dir_.path() + "/out/report.html"), HasSubstr("<svg"));
  EXPECT_THAT(result.err, HasSubstr("report.html"));
}

TEST_F(SweepCommandTest, ResultsDoNotDependOnTheConcurrency) {
  FakeServer server({.yaml = kLevels});
  std::set<std::string> reports;
  for (const char* calls : {"1", "3", "32"}) {
    std::vector<std::string> flags = All(calls);
    flags.insert(flags.end(), {std::string("--concurrency=") + calls, "--speed_runs=0"});
    ASSERT_EQ(Sweep(server, flags).exit_code, 0);
    reports.insert(Report(calls));
  }
  EXPECT_EQ(reports.size(), 1);
}

TEST_F(SweepCommandTest, ASweepThatWasCutAnywhereComesToTheSameBytes) {
  FakeServer server({.yaml = kLevels});
  ASSERT_EQ(Sweep(server, All("whole")).exit_code, 0);
  const std::string report = Report("whole");
  const std::string journal = Journal("whole");
  // Times are taken first and would be others if they were taken again.
  size_t timed = 0;
  for (int line = 0; line < 1 + 2 * 3; ++line) timed = journal.find('\n', timed) + 1;
  for (size_t size = timed; size <= journal.size(); size += 1 + (journal.size() - timed) / 12) {
    const std::string out = "cut" + std::to_string(size);
    Begin(out, journal.substr(0, size));
    std::vector<std::string> flags = All(out);
    flags.push_back("--resume");
    const CliResult result = Sweep(server, flags);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(Report(out), report) << size;
  }
}

TEST_F(SweepCommandTest, WhatTheJournalHasIsNotMeasuredAgain) {
  FakeServer server({.yaml = kLevels});
  ASSERT_EQ(Sweep(server, All("out")).exit_code, 0);
  const std::string report = Report("out");
  const std::string journal = Journal("out");
  std::vector<std::string> flags = All("out");
  flags.push_back("--resume");
  const double before = server.Metric("skipstone_generation_tokens_total");
  ASSERT_EQ(Sweep(server, flags).exit_code, 0);
  EXPECT_EQ(server.Metric("skipstone_generation_tokens_total"), before);
  EXPECT_EQ(Report("out"), report);
  EXPECT_EQ(Journal("out"), journal);
}

TEST_F(SweepCommandTest, JournalsOfOtherSweepsAreRefused) {
  FakeServer server({.yaml = kLevels});
  ASSERT_EQ(Sweep(server, All("out")).exit_code, 0);
  const std::string journal = Journal("out");
  const auto refused = [&](const std::string& address, const std::string& flag,
                           const std::string& what) {
    std::vector<std::string> flags = All("out");
    flags.insert(flags.end(), {"--resume", flag});
    const CliResult result = Sweep(address, flags);
    EXPECT_EQ(result.exit_code, 1) << what;
    EXPECT_THAT(result.err, AllOf(HasSubstr("FAILED_PRECONDITION"), HasSubstr('"' + what + '"')));
    EXPECT_EQ(Journal("out"), journal);
  };
  const std::string address = server.server().grpc_address();
  refused(address, "--skips=full;attn:3", "skips");
  refused(address, "--items=1", "inputs");
  refused(address, "--text=" + dir_.Write("text2", "5 4 3 2 1 2 3 4 5"), "inputs");
  refused(address, "--max_tokens=5", "max_tokens");
  FakeServer levels({.yaml = "levels: {half: 'attn:last=50%', full: none, more: 'attn:0'}\n"
                             "default_level: full"});
  refused(levels.server().grpc_address(), "--resume", "levels");
  // Without --resume it is not touched either.
  const CliResult again = Sweep(server, All("out"));
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, AllOf(HasSubstr("ALREADY_EXISTS"), HasSubstr("--resume")));
}

// A model that scores texts of any characters, and can be told to fail.
class ScriptedModel {
 public:
  ScriptedModel() {
    server_.Answer<v1::GetModelRequest, v1::GetModelResponse>([](const auto&, auto& model) {
      model.set_model_fingerprint("5eed");
      model.set_max_context_tokens(100);
      model.set_vocab_size(100);
      model.set_bos_token_id(1);
      model.add_levels()->set_name("full");
      model.mutable_levels(0)->set_spec("none");
    });
    server_.Handle<v1::ScoreRequest, v1::ScoreResponse>(
        [this](grpc::ServerContext&, const auto& request, auto& response) {
          if (--calls_left_ < 0) return grpc::Status(grpc::StatusCode::INTERNAL, "broken");
          ScoreAll(request, response);
          return grpc::Status::OK;
        });
  }

  std::string address() const { return server_.address(); }
  void set_calls_left(int calls) { calls_left_ = calls; }

 private:
  static void ScoreAll(const v1::ScoreRequest& request, v1::ScoreResponse& response) {
    const bool full = request.skip().level() == "full" || request.skip().spec() == "none";
    response.mutable_applied_skip()->set_spec(full ? "none" : request.skip().spec());
    for (const v1::ScoreItem& item : request.items()) {
      v1::ScoreResult& result = *response.add_results();
      const uint64_t hash = Fnv1a64(request.skip().spec() + item.ShortDebugString());
      result.set_logprob_sum(-static_cast<double>(hash % 1000) / 7);
      result.set_greedy(hash % 2 == 0);
    }
  }

  std::atomic<int> calls_left_ = 1 << 20;
  ScriptedServer server_;
};

TEST_F(SweepCommandTest, ASweepThatFailedGoesOnToTheSameBytes) {
  ScriptedModel model;
  const auto run = [&](const std::string& out, int calls) {
    model.set_calls_left(calls);
    return Sweep(model.address(), {"--choices=" + choices_, "--last_words=" + last_words_,
                                   "--skips=full;attn:3", "--speed_runs=0", "--resume",
                                   "--concurrency=2", "--out=" + dir_.path() + "/" + out});
  };
  ASSERT_EQ(run("whole", 1000).exit_code, 0);
  // Two calls ask for the skips' names, eight measure.
  for (int calls = 0; calls < 10; ++calls) {
    const std::string out = "failed" + std::to_string(calls);
    const CliResult failed = run(out, calls);
    EXPECT_EQ(failed.exit_code, 1);
    EXPECT_THAT(failed.err, HasSubstr("INTERNAL"));
    EXPECT_EQ(Report(out), "");
    const CliResult result = run(out, 1000);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(Report(out), Report("whole"));
  }
}

TEST_F(SweepCommandTest, ChoicesAreCounted) {
  ScriptedModel model;
  const CliResult result = Sweep(model.address(), {"--choices=" + choices_, "--json",
                                                   "--skips=full;attn:3", "--speed_runs=0"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json rows = json::parse(result.out)["rows"];
  EXPECT_TRUE(rows[0]["accuracy"].is_number());
  EXPECT_EQ(rows[0]["choice"], json({{"value", 0}, {"low", 0}, {"high", 0}}));
  EXPECT_EQ(rows[1]["choice"]["value"].get<double>(),
            rows[1]["accuracy_norm"].get<double>() - rows[0]["accuracy_norm"].get<double>());
}

TEST_F(SweepCommandTest, WrongUsage) {
  const auto error = [](std::vector<std::string> flags) {
    flags.insert(flags.begin(), "sweep");
    const CliResult result = RunSkipstone(flags);
    EXPECT_EQ(result.exit_code, 2);
    return result.err;
  };
  EXPECT_THAT(error({}), HasSubstr("--text, --choices, --last_words and --prompts"));
  EXPECT_THAT(error({"--text=f", "more"}), HasSubstr("unexpected \"more\""));
  EXPECT_THAT(error({"--text=f", "--window=1"}), HasSubstr("window"));
  EXPECT_THAT(error({"--text=f", "--items=0"}), HasSubstr("--items"));
  EXPECT_THAT(error({"--text=f", "--concurrency=0"}), HasSubstr("concurrency"));
  EXPECT_THAT(error({"--text=f", "--resume"}), HasSubstr("--resume needs --out"));
  EXPECT_THAT(error({"--text=f", "--skips=none;;half"}), HasSubstr("--skips"));
}

TEST_F(SweepCommandTest, BadInputIsToldBeforeAnythingIsMeasured) {
  FakeServer server({.yaml = kLevels});
  const auto error = [&](std::vector<std::string> flags) {
    flags.push_back("--out=" + dir_.path() + "/bad");
    const CliResult result = Sweep(server, flags);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/bad"));
    return result.err;
  };
  EXPECT_THAT(error({"--text=" + dir_.Write("empty", "")}), HasSubstr("is empty"));
  EXPECT_THAT(error({"--text=" + dir_.Write("one", "5")}), HasSubstr("less than a window"));
  EXPECT_THAT(error({"--text=" + dir_.Write("short", "5 6 7"), "--window=10"}),
              HasSubstr("less than a window of 10"));
  EXPECT_THAT(error({"--text=" + text_, "--skips=none;quarter"}),
              AllOf(HasSubstr("NOT_FOUND"), HasSubstr("quarter"), HasSubstr("half")));
  EXPECT_THAT(error({"--choices=" + dir_.Write("wrong", "{}")}), HasSubstr("line 1"));
  EXPECT_THAT(error({"--prompts=" + dir_.path() + "/none"}), HasSubstr("NOT_FOUND"));
}

TEST_F(SweepCommandTest, ServersThatAreNotThereAreErrors) {
  const CliResult result =
      Sweep("unix:" + dir_.path() + "/none", {"--text=" + text_, "--timeout=200ms"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, testing::AnyOf(HasSubstr("UNAVAILABLE"), HasSubstr("DEADLINE")));
}

TEST_F(SweepCommandTest, FoldersThatCannotBeWrittenAreErrors) {
  FakeServer server({.yaml = kLevels});
  const CliResult result = Sweep(server, {"--text=" + text_, "--window=5", "--out=" + text_});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("--out"));
}

}  // namespace
}  // namespace skipstone::client
