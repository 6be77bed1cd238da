#include <nlohmann/json.hpp>

#include "engine/skip/skip_set.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/run_skipstone.h"
#include "tests/client/scripted_server.h"
#include "tests/server/fake_server.h"
#include "tests/support/test_levels.h"

namespace skipstone::client {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr char kYaml[] = R"(
levels: {full: none, half: "attn:last=50%", near: "attn:3+win:1/64,2/32"}
policy: {max_skipped_attention: 3, max_windowed_attention: 2, min_window: 24}
experiments:
  - name: exp
    enabled: true
    unit: metadata:x-user-id
    salt: s
    arms: [{name: control, level: full, weight: 50}, {name: treatment, level: half, weight: 50}]
)";

TEST(InfoCommandTest, ShowsModelLoadLevelsAndExperiments) {
  server::FakeServer server({.yaml = kYaml});
  const CliResult info = RunSkipstone({"info", "--server", server.server().grpc_address()});
  EXPECT_EQ(info.exit_code, 0);
  for (const char* text :
       {"fake (f32, fingerprint 0000000000005eed)", "4 layers", "context 64",
        "8 sequences, 100 queued of 1048576 prompt tokens, 16 rows of work a step", "default full",
        "custom specs allowed, at most 3 attention sublayers skipped and 2 windowed\n",
        "24 tokens or more, beside the first ", "windowed attention", "attn:3+win:1/64,2/32",
        "0 running, 0 waiting of 0 prompt tokens\n",
        "1000 of 4 tokens: 0 used, 0 cached, 1000 free", "level", "half", "attn:2-3", "experiment",
        "metadata:x-user-id", "treatment"}) {
    EXPECT_THAT(info.out, HasSubstr(text));
  }
}

TEST(InfoCommandTest, JsonHoldsBothAnswers) {
  server::FakeServer server({.yaml = kYaml});
  const CliResult info =
      RunSkipstone({"info", "--json", "--server", server.server().grpc_address()});
  EXPECT_EQ(info.exit_code, 0);
  const json answer = json::parse(info.out);
  EXPECT_EQ(answer["model"]["num_layers"], 4);
  EXPECT_EQ(answer["model"]["levels"][1]["spec"], "attn:2-3");
  const json& near = answer["model"]["levels"][2];
  EXPECT_EQ(near["skipped_attention"], 1);
  EXPECT_EQ(near["windowed_attention"], 2);
  EXPECT_EQ(near["smallest_window_tokens"], 32);
  EXPECT_EQ(answer["model"]["levels"][1]["windowed_attention"], 0);
  EXPECT_EQ(answer["model"]["max_windowed_attention"], 2);
  EXPECT_EQ(answer["model"]["min_window_tokens"], 24);
  EXPECT_EQ(answer["model"]["sink_tokens"], kSinkTokens);
  EXPECT_EQ(answer["model"]["experiments"][0]["arms"].size(), 2);
  EXPECT_EQ(answer["load"]["kv_pages_free"], 1000);
  EXPECT_EQ(answer["load"]["draining"], false);
  EXPECT_EQ(answer["load"]["waiting_tokens"], 0);
}

TEST(InfoCommandTest, ShowsCompensationAndQualityOfLevels) {
  TestLevels levels(0x5eed, 4, 8);
  CalibratedLevel& deep = levels.Add("deep", "attn:last=2", "suffix", "diag");
  deep.quality = TestQuality(0.5);
  deep.decode_ms_saved = 1.25;
  levels.Add("raw", "attn:last=1", "suffix");
  server::FakeServer server({.levels_file = levels.file});
  const CliResult info = RunSkipstone({"info", "--server", server.server().grpc_address()});
  EXPECT_EQ(info.exit_code, 0);
  EXPECT_THAT(info.out, testing::ContainsRegex("level +spec .* compensation +family *\n"));
  EXPECT_THAT(info.out, testing::ContainsRegex("full +none .* - +- *\n"));
  EXPECT_THAT(info.out, testing::ContainsRegex("deep +attn:2-3@[0-9a-f]+ .* diag +suffix *\n"));
  EXPECT_THAT(info.out,
              testing::ContainsRegex("deep +0.5 .0.4, 0.625. +70.25 .66, 75. +0.5 .0.4, 0.6. +- +"
                                     "-0.03 .-0.07, 0.01. +- +1.25 +- *\n"));
  EXPECT_THAT(info.out, testing::ContainsRegex("\nraw +- +- +- +- +- +- +- +- *\n"));
  EXPECT_THAT(info.out,
              HasSubstr("quality is not known: the levels file has no quality of: raw\n"));
  server::FakeServer plain({.yaml = kYaml});
  EXPECT_THAT(RunSkipstone({"info", "--server", plain.server().grpc_address()}).out,
              testing::AllOf(HasSubstr("quality is not known: there is no levels file"),
                             Not(HasSubstr("perplexity"))));
}

TEST(InfoCommandTest, SaysThatTheServerDrains) {
  ScriptedServer server;
  server.Answer<v1::GetLoadRequest, v1::GetLoadResponse>(
      [](const auto&, auto& load) { load.set_draining(true); });
  const CliResult info = RunSkipstone({"info", "--server", server.address()});
  EXPECT_EQ(info.exit_code, 0);
  EXPECT_THAT(info.out, HasSubstr("draining"));
  EXPECT_THAT(info.out, Not(HasSubstr("experiment")));
}

}  // namespace
}  // namespace skipstone::client
