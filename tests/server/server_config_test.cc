// The YAML file; its plain keys are in settings_test.
#include "server/server_config.h"

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/levels.h"
#include "tests/support/server_process.h"
#include "tests/support/temp_dir.h"

namespace skipstone::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

absl::Status Read(const std::string& text, ServerConfig& config) {
  return ReadConfigText(text, "s.yaml", config);
}

std::string ErrorOf(const std::string& text) {
  ServerConfig config;
  const absl::Status status = Read(text, config);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(status.message());
}

TEST(ServerConfigTest, UnknownKeysNameTheLine) {
  EXPECT_THAT(ErrorOf("threads: 1\n\nthread: 2\n"), StartsWith("s.yaml:3: unknown key 'thread'"));
  EXPECT_THAT(ErrorOf("policy:\n  allow_custom_skips: true"),
              StartsWith("s.yaml:2: unknown key 'policy.allow_custom_skips'"));
  EXPECT_THAT(ErrorOf("brownout:\n  rows: 0.5"),
              StartsWith("s.yaml:2: unknown key 'brownout.rows'"));
  const std::string experiment = "experiments:\n- name: e\n  unit: window:60s\n";
  EXPECT_THAT(ErrorOf(experiment + "  arm: []"),
              StartsWith("s.yaml:4: unknown key 'experiments.arm'"));
  EXPECT_THAT(ErrorOf(experiment + "  arms:\n  - name: a\n    wieght: 1"),
              StartsWith("s.yaml:6: unknown key 'arms.wieght'"));
}

TEST(ServerConfigTest, MistypedValuesNameTheLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"- a\n- b", "s.yaml:1: file: a mapping"},
      {"\nthreads: [1]", "s.yaml:2: threads: one value"},
      {"\nlevels: [full]", "s.yaml:2: levels: a mapping"},
      {"levels:\n  full: {a: b}", "s.yaml:2: levels.full: one value"},
      {"policy:\n  allow_custom_skip: perhaps", "s.yaml:2: allow_custom_skip: 'perhaps'"},
      {"policy:\n  max_priority: 101",
       "s.yaml:2: max_priority: '101' is not a whole number from 0"},
      {"policy:\n  max_priority: -1", "s.yaml:2: max_priority: '-1'"},
      {"policy:\n  min_window: 15",
       "s.yaml:2: min_window: '15' is not a whole number from 16 to 262144"},
      {"policy:\n  min_window: 262145", "s.yaml:2: min_window: '262145'"},
      {"policy:\n  max_windowed_attention: [1]",
       "s.yaml:2: policy.max_windowed_attention: one value"},
      {"policy:\n  max_n: 0", "s.yaml:2: max_n: '0' is not a whole number from 1 to 16"},
      {"policy:\n  max_n: 17", "s.yaml:2: max_n: '17'"},
      {"policy:\n  max_logprobs: 21", "s.yaml:2: max_logprobs: '21'"},
      {"policy:\n  max_logprobs: 1.5", "s.yaml:2: max_logprobs: '1.5'"},
      {"policy:\n  max_tenant_running: -1", "s.yaml:2: max_tenant_running: '-1'"},
      {"policy:\n  max_tenant_queued: [1]", "s.yaml:2: policy.max_tenant_queued: one value"},
      {"policy:\n  share_prefix_cache_across_tenants: 2",
       "s.yaml:2: share_prefix_cache_across_tenants: '2'"},
      {"\nbrownout: 0.5", "s.yaml:2: brownout: a mapping"},
      {"brownout:\n  queue: [1]", "s.yaml:2: brownout.queue: one value"},
      {"brownout:\n  pages: much", "s.yaml:2: brownout_pages: 'much' is not a share"},
      {"\nexperiments: {}", "s.yaml:2: experiments: a list"},
      {"experiments:\n- arms: 5", "s.yaml:2: arms: a list"},
      {"experiments:\n- name: e", "s.yaml:2: an experiment has a name, a unit and arms"},
      {"experiments:\n- arms:\n  - {name: a, level: full}", "s.yaml:3: an arm has"},
      {"experiments:\n- arms:\n  - {weight: -1}", "s.yaml:3: weight: '-1'"},
      {"experiments:\n- arms:\n  - {weight: .nan}", "s.yaml:3: weight: '.nan'"},
      {"experiments:\n- arms:\n  - {weight: nan}", "s.yaml:3: weight: 'nan'"},
      {"experiments:\n- design: both", "s.yaml:2: design: 'both'"},
      {"experiments:\n- washout: long", "s.yaml:2: washout: 'long'"},
      {"experiments:\n- arm_from: x-arm", "s.yaml:2: arm_from: 'x-arm'"},
      {"experiments:\n- exclude: {tenants: acme}", "s.yaml:2: exclude.tenants: a list"},
      {"experiments:\n- exclude: {priority: 1}", "s.yaml:2: unknown key 'exclude.priority'"},
      {"experiments:\n- arms:\n  - {weight: .inf}", "s.yaml:3: weight: '.inf'"},
      {"experiments:\n- shadow: {fraction: 1.5}", "s.yaml:2: fraction: '1.5'"},
      {"experiments:\n- shadow: {share: 0.5}", "s.yaml:2: unknown key 'shadow.share'"},
      {"experiments:\n- ramp: {steps: 0.1}", "s.yaml:2: ramp.steps: a list is wanted"},
      {"experiments:\n- ramp: {steps: [0.1, 0.05]}", "s.yaml:2: ramp.steps: steps must ascend"},
      {"experiments:\n- ramp: {steps: [0]}", "s.yaml:2: ramp.steps: '0'"},
      {"experiments:\n- ramp: {hold: soon}", "s.yaml:2: ramp.hold: 'soon'"},
      {"experiments:\n- ramp: {pace: 1}", "s.yaml:2: unknown key 'ramp.pace'"},
      {"experiments:\n- guardrails: [{metric: kl}]", "s.yaml:2: a guardrail has a metric"},
      {"experiments:\n- guardrails: [{metric: kl, min: 1, max: 2}]", "s.yaml:2: a guardrail has"},
      {"experiments:\n- guardrails: [{metric: kl, max: x}]", "s.yaml:2: max: 'x'"},
      {"buckets:\n  step_rows: 5", "s.yaml:2: step_rows: a list"},
      {"buckets:\n  step_rows: [1, x]", "s.yaml:2: step_rows: 'x'"},
      {"buckets:\n  step_rows: [2, 2]", "s.yaml:2: step_rows: bounds must ascend"},
      {"threads: 'a", "s.yaml:1: "},
      {"a: b: c", "s.yaml:1: "}};
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(ErrorOf(text), StartsWith(message)) << text;
  }
}

TEST(ServerConfigTest, LevelsAreAFileOrTheConfigurationsOwnOrBoth) {
  ServerConfig file;
  ASSERT_TRUE(Read("levels: /models/levels.yaml", file).ok());
  EXPECT_EQ(file.levels_file, "/models/levels.yaml");
  ASSERT_EQ(file.levels.size(), 1u);
  EXPECT_EQ(file.levels[0].name, "full") << "as without a configuration";
  ServerConfig both;
  ASSERT_TRUE(
      Read("levels: {full: none, a: 'attn:last=25%@diag'}\nlevels_file: l.yaml", both).ok());
  EXPECT_EQ(both.levels_file, "l.yaml");
  ASSERT_EQ(both.levels.size(), 2u);
  EXPECT_EQ(both.levels[1].spec, "attn:last=25%@diag");
}

TEST(ServerConfigTest, DuplicateKeysAreErrors) {
  EXPECT_EQ(ErrorOf("threads: 1\nmodel: m\nthreads: 2"), "s.yaml:3: key 'threads' appears twice");
  EXPECT_EQ(ErrorOf("levels:\n  full: none\n  full: none"), "s.yaml:3: key 'full' appears twice");
}

TEST(ServerConfigTest, ASecondDocumentNamesItsLine) {
  EXPECT_THAT(ErrorOf("threads: 1\n---\nthreads: 2\n"), StartsWith("s.yaml:3: a second document"));
  EXPECT_THAT(ErrorOf("---\nthreads: 1\n---\n- a\n"), StartsWith("s.yaml:4: a second document"));
  EXPECT_THAT(ErrorOf("threads: 1\n...\n---\nunknown: 1\n"), StartsWith("s.yaml:4: a second"));
  EXPECT_THAT(ErrorOf("threads: 1\n---\n"), HasSubstr(": a second document"));
  EXPECT_THAT(ErrorOf("threads: 1\n---\nx: [\n"), StartsWith("s.yaml:"));
  for (const char* one : {"---\nthreads: 3\n", "threads: 3\n...\n", "# a\n---\n# b\nthreads: 3"}) {
    ServerConfig config;
    EXPECT_TRUE(Read(one, config).ok()) << one;
    EXPECT_EQ(config.threads, 3) << one;
  }
}

TEST(ServerConfigTest, ReadsThePolicy) {
  ServerConfig config;
  EXPECT_EQ(config.policy.max_priority, 0) << "nobody puts himself before the others";
  EXPECT_EQ(config.policy.max_n, 16);
  EXPECT_EQ(config.policy.max_logprobs, 20);
  EXPECT_EQ(config.policy.max_windowed_attention, "") << "all";
  EXPECT_EQ(config.policy.min_window, 16);
  EXPECT_EQ(config.policy.max_tenant_running, 0) << "no limit";
  EXPECT_EQ(config.policy.max_tenant_queued, 0);
  EXPECT_FALSE(config.policy.share_prefix_cache_across_tenants);
  const absl::Status status = Read(
      "policy: {max_priority: 5, max_n: 2, max_logprobs: 0, max_tenant_running: 7,\n"
      "         max_windowed_attention: 50%, min_window: 32,\n"
      "         max_tenant_queued: 8, share_prefix_cache_across_tenants: true}",
      config);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(config.policy.max_priority, 5);
  EXPECT_EQ(config.policy.max_n, 2);
  EXPECT_EQ(config.policy.max_logprobs, 0);
  EXPECT_EQ(config.policy.max_windowed_attention, "50%");
  EXPECT_EQ(config.policy.min_window, 32);
  EXPECT_EQ(config.policy.max_tenant_running, 7);
  EXPECT_EQ(config.policy.max_tenant_queued, 8);
  EXPECT_TRUE(config.policy.share_prefix_cache_across_tenants);
}

TEST(ServerConfigTest, ReadsWhatHasKeysOfItsOwn) {
  ServerConfig config;
  const absl::Status status = Read(R"(
levels: {full: none, attn-33: "attn:last=33%"}
policy: {allow_custom_skip: false, max_skipped_attention: 75%}
brownout: {queue: 0.75, pages: 1}
fair_share: metadata:x-tenant-id
experiments:
  - name: e
    enabled: false
    unit: metadata:x-user-id
    isolate_prefix_cache: false
    salt: 2026-11
    arms: [{name: control, level: full, weight: 50}, {name: treated, level: attn-33, weight: 0.5}]
buckets: {step_rows: [1, 2.5, 1e3]}
)",
                                   config);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(config.levels.size(), 2u);
  EXPECT_EQ(config.levels[1].name, "attn-33");
  EXPECT_EQ(config.levels[1].spec, "attn:last=33%");
  EXPECT_FALSE(config.policy.allow_custom_skip);
  EXPECT_EQ(config.policy.max_skipped_attention, "75%");
  EXPECT_EQ(config.engine.brownout_queue, 0.75);
  EXPECT_EQ(config.engine.scheduler.brownout_pages, 1);
  EXPECT_EQ(config.fair_share, "metadata:x-tenant-id");
  ASSERT_EQ(config.experiments.size(), 1u);
  const ExperimentConfig& e = config.experiments[0];
  EXPECT_EQ(e.name + " " + e.unit + " " + e.salt, "e metadata:x-user-id 2026-11");
  EXPECT_FALSE(e.enabled);
  EXPECT_FALSE(e.isolate_prefix_cache);
  ASSERT_EQ(e.arms.size(), 2u);
  EXPECT_EQ(e.arms[1].name + " " + e.arms[1].level, "treated attn-33");
  EXPECT_EQ(e.arms[1].weight, 0.5);
  EXPECT_THAT(config.buckets["step_rows"], ElementsAre(1, 2.5, 1000));
}

TEST(ServerConfigTest, ALevelOfWindowsNeedsNoQuotes) {
  ServerConfig config;
  const absl::Status status = Read(
      "levels:\n  full: none\n  win-50: win:last=50%/64\n"
      "  flow: \"attn:3+win:1/64,2/128\"\n",
      config);
  ASSERT_TRUE(status.ok()) << status;
  const auto levels = Levels::Make(config, 4, 128);
  ASSERT_TRUE(levels.ok()) << levels.status();
  EXPECT_EQ(levels->Find("win-50")->skip.ToString(), "win:2-3/64");
  EXPECT_EQ(levels->Find("flow")->skip.ToString(), "attn:3+win:1/64,2/128");
}

TEST(ServerConfigTest, ReadsAFile) {
  TempDir dir;
  ServerConfig config;
  ASSERT_TRUE(ReadConfigFile(dir.Write("a.yaml", "threads: 7\n"), config).ok());
  EXPECT_EQ(config.threads, 7);
  EXPECT_TRUE(ReadConfigFile(dir.Write("empty.yaml", ""), config).ok());
  EXPECT_TRUE(ReadConfigFile(dir.Write("comment.yaml", "# nothing\n"), config).ok());
  EXPECT_EQ(config.threads, 7);
  const absl::Status wrong = ReadConfigFile(dir.Write("b.yaml", "\nx: 1"), config);
  EXPECT_THAT(std::string(wrong.message()), HasSubstr("/b.yaml:2: unknown key 'x'"));
}

TEST(ServerConfigTest, NamesAFileThatCannotBeRead) {
  TempDir dir;
  ServerConfig config;
  for (const std::string& path : {dir.path() + "/none.yaml", dir.path()}) {
    const absl::Status status = ReadConfigFile(path, config);
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << path;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path + ": the configuration cannot"));
  }
}

// The program: exit 2, and one line that says what is wrong.
TEST(ServerConfigTest, ProgramRefusesAWrongConfiguration) {
  TempDir dir;
  const std::string file = dir.Write("s.yaml", "model: synthetic:llama-2-7b\nthreads: none\n");
  const std::string two = dir.Write("two.yaml", "model: synthetic:llama-2-7b\n---\nthreads: 1\n");
  const std::string wide = dir.Write(
      "wide.yaml", "model: synthetic:llama-2-7b\nlevels: {full: none, wide: \"win:31/4104\"}\n");
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--config=" + file}, "s.yaml:2: threads: 'none'"},
      {{"--config=" + dir.path() + "/absent"}, "absent: the configuration cannot be read"},
      {{"--threads=none"}, "--threads: 'none'"},
      {{"--check"}, "model: none is given"},
      {{"--check", "--model=synthetic:llama-2-7b", "--default_level=deep"}, "default_level"},
      {{"--check", "--config=" + wide},
       "levels.wide: layer 31 has a window of 4104 tokens, the model's context is 4096"},
      {{"--check", "--config=" + two}, "two.yaml:3: a second document"},
      {{"--threads=1", "stray"}, "unexpected argument 'stray'"}};
  for (const auto& [flags, message] : cases) {
    const ProgramResult result = RunServerBinary(flags);
    EXPECT_EQ(result.exit_status, 2) << message;
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(result.out, "");
  }
}

TEST(ServerConfigTest, AFlagWinsOverTheFile) {
  TempDir dir;
  const std::string file =
      dir.Write("s.yaml",
                "model: synthetic:layers=2,hidden=64,heads=4,ffn=128,vocab=64\nkv_pages: 1000\n"
                "threads: 1\nmodel_name: of-file\npage_tokens: 8\n");
  const auto server = ServerProcess::Start({"--config=" + file, "--model_name=of-flag"});
  ASSERT_NE(server, nullptr);
  const std::string metrics = server->ScrapeMetrics();
  EXPECT_THAT(metrics, HasSubstr("model_name=\"of-flag\""));
  EXPECT_THAT(metrics, HasSubstr("block_size=\"8\""));
  EXPECT_THAT(metrics, HasSubstr("num_gpu_blocks=\"500\""));
  EXPECT_THAT(metrics, testing::Not(HasSubstr("of-file")));
}

}  // namespace
}  // namespace skipstone::server
