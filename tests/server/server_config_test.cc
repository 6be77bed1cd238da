// The YAML file and the settings that are flags as well.
#include "server/server_config.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/server_process.h"
#include "tests/support/temp_dir.h"

namespace skipstone::server {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// A setting with a value that is not its default, one that is refused, and what then is wanted.
struct SettingCase {
  const char* key;
  const char* value;
  std::function<bool(const ServerConfig&)> applied;
  const char* wrong = nullptr;
  const char* wanted = nullptr;
};

const std::vector<SettingCase>& SettingCases() {
  using C = ServerConfig;
  static const auto* const cases = new std::vector<SettingCase>{
      {"model", "synthetic:llama-2-7b",
       [](const C& c) { return c.model == "synthetic:llama-2-7b"; }},
      {"model_name", "mine", [](const C& c) { return c.model_name == "mine"; }},
      {"listen", "127.0.0.1:7", [](const C& c) { return c.listen == "127.0.0.1:7"; }, "127.0.0.1",
       "HOST:PORT"},
      {"metrics_listen", "[::1]:0", [](const C& c) { return c.metrics_listen == "[::1]:0"; },
       "localhost:65536", "HOST:PORT"},
      {"health_listen", "0.0.0.0:8", [](const C& c) { return c.health_listen == "0.0.0.0:8"; },
       ":8", "HOST:PORT"},
      {"max_connections", "9", [](const C& c) { return c.max_connections == 9; }, "65537",
       "from 1 to 65536"},
      {"max_concurrent_streams", "8", [](const C& c) { return c.max_concurrent_streams == 8; }, "0",
       "from 1"},
      {"max_connection_age", "30m",
       [](const C& c) { return c.max_connection_age == milliseconds(1800000); }, "old",
       "a duration"},
      {"max_connection_age_grace", "1m",
       [](const C& c) { return c.max_connection_age_grace == milliseconds(60000); }, "25h",
       "up to 24h"},
      {"max_connection_idle", "90s",
       [](const C& c) { return c.max_connection_idle == milliseconds(90000); }, "-1s",
       "a duration"},
      {"min_ping_interval", "10s",
       [](const C& c) { return c.min_ping_interval == milliseconds(10000); }, "10", "a duration"},
      {"grpc_memory", "64MiB", [](const C& c) { return c.grpc_memory_bytes == 64 << 20; }, "little",
       "512MiB"},
      {"allow_compressed_requests", "true", [](const C& c) { return c.allow_compressed_requests; },
       "gzip", "true or false"},
      {"backend", "cpu", [](const C& c) { return c.backend == "cpu"; }, "tpu", "auto, cpu, cuda"},
      {"threads", "3", [](const C& c) { return c.threads == 3; }, "0", "1 to 1024"},
      {"validation_threads", "3", [](const C& c) { return c.validation_threads == 3; }, "0",
       "1 to 64"},
      {"kv_memory", "4GiB", [](const C& c) { return c.kv_memory_bytes == int64_t{4} << 30; }, "4GB",
       "512MiB"},
      {"kv_pages", "77", [](const C& c) { return c.kv_pages == 77; }, "2147483648",
       "from 1 to 2147483647"},
      {"page_tokens", "32", [](const C& c) { return c.page_tokens == 32; }, "257", "1 to 256"},
      {"max_batch_tokens", "8", [](const C& c) { return c.max_batch_tokens == 8; }, "many",
       "1 to 32768"},
      {"max_sequences", "5", [](const C& c) { return c.max_sequences == 5; }, "1.5", "1 to 8192"},
      {"max_queue", "6", [](const C& c) { return c.max_queue == 6; }, "99999999999999999999",
       "1 to 1000000"},
      {"max_queue_tokens", "2097152", [](const C& c) { return c.max_queue_tokens == 1 << 21; }, "0",
       "from 1"},
      {"itl_bound", "1.5ms", [](const C& c) { return c.itl_bound == microseconds(1500); }, "50",
       "a duration"},
      {"brownout_queue", "0.25", [](const C& c) { return c.brownout_queue == 0.25; }, "half",
       "a share"},
      {"brownout_pages", "2", [](const C& c) { return c.brownout_pages == 2; }, "-0.5",
       "above 1: never"},
      {"fair_share", "metadata:X-Tenant",
       [](const C& c) {
         return c.fair_share == "metadata:X-Tenant" && c.tenant_key() == "x-tenant";
       },
       "x-tenant", "metadata:KEY"},
      {"allow_abort", "any", [](const C& c) { return c.allow_abort == "any"; }, "all", "own, any"},
      {"drain_timeout", "5m", [](const C& c) { return c.drain_timeout == milliseconds(300000); },
       "25h", "up to 24h"},
      {"drain_grace", "0s", [](const C& c) { return c.drain_grace == milliseconds(0); }, "-1s",
       "a duration"},
      {"stream_stall_timeout", "250ms",
       [](const C& c) { return c.stream_stall_timeout == milliseconds(250); }, "60", "a duration"},
      {"step_stall_timeout", "1h",
       [](const C& c) { return c.step_stall_timeout == milliseconds(3600000); }, "soon",
       "a duration"},
      {"tuning_cache", "/tmp/t", [](const C& c) { return c.tuning_cache == "/tmp/t"; }},
      {"log_level", "debug", [](const C& c) { return c.log_level == "debug"; }, "loud",
       "debug, info, warn, error"},
      {"log_format", "json", [](const C& c) { return c.log_format == "json"; }, "xml",
       "text, json"},
      {"liveness", "false", [](const C& c) { return !c.liveness; }, "maybe", "true or false"},
      {"prefix_cache", "no", [](const C& c) { return !c.prefix_cache; }, "2", "true or false"},
      {"default_level", "deep", [](const C& c) { return c.default_level == "deep"; }}};
  return *cases;
}

absl::Status Read(const std::string& text, ServerConfig& config) {
  return ReadConfigText(text, "s.yaml", config);
}

std::string ErrorOf(const std::string& text) {
  ServerConfig config;
  const absl::Status status = Read(text, config);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(status.message());
}

TEST(ServerConfigTest, EverySettingHasACaseHere) {
  std::set<std::string> keys;
  for (const SettingCase& c : SettingCases()) keys.insert(c.key);
  std::set<std::string> settings;
  for (const Setting& setting : Settings()) settings.insert(setting.key);
  EXPECT_EQ(keys, settings);
}

TEST(ServerConfigTest, EverySettingIsAKeyOfTheFile) {
  for (const SettingCase& c : SettingCases()) {
    ServerConfig config;
    EXPECT_FALSE(c.applied(config)) << c.key << ": the case must differ from the default";
    const absl::Status status = Read(absl::StrFormat("%s: '%s'", c.key, c.value), config);
    EXPECT_TRUE(status.ok() && c.applied(config)) << c.key << ": " << status;
  }
}

TEST(ServerConfigTest, EverySettingIsAppliedAsAFlag) {
  for (const SettingCase& c : SettingCases()) {
    ServerConfig config;
    const absl::Status status = ApplySetting(c.key, c.value, config);
    EXPECT_TRUE(status.ok() && c.applied(config)) << c.key << ": " << status;
  }
}

// "--key..." up to the next flag.
std::string HelpOf(const std::string& key) {
  const std::string help = SettingsHelp();
  const size_t begin = help.find("  --" + key);
  EXPECT_NE(begin, std::string::npos) << key;
  return help.substr(begin, help.find("\n  --", begin + 1) - begin);
}

TEST(ServerConfigTest, HelpTellsValuesAndDefaultOfEverySetting) {
  for (const SettingCase& c : SettingCases()) {
    const std::string help = HelpOf(c.key);
    EXPECT_THAT(help, HasSubstr("default: "));
    if (c.wanted != nullptr) {
      EXPECT_THAT(help, HasSubstr(c.wanted));
    }
    // What it tells can be given, and is what one has without it.
    const size_t at = help.find("(default: ");
    if (at == std::string::npos || help.find("(default: none)") == at) continue;
    ServerConfig config;
    const std::string value = help.substr(at + 10, help.find(')', at) - at - 10);
    EXPECT_TRUE(ApplySetting(c.key, value, config).ok()) << help;
  }
  EXPECT_THAT(HelpOf("listen"), HasSubstr("(default: 127.0.0.1:50051)"));
  EXPECT_THAT(HelpOf("metrics_listen"), HasSubstr("(default: 0.0.0.0:9400)"));
  EXPECT_THAT(HelpOf("drain_timeout"), HasSubstr("(default: 30s)"));
  EXPECT_THAT(HelpOf("itl_bound"), HasSubstr("(default: 0)"));
  EXPECT_THAT(HelpOf("grpc_memory"), HasSubstr("(default: 512MiB)"));
  EXPECT_THAT(HelpOf("brownout_pages"), HasSubstr("(default: 0.95)"));
  EXPECT_THAT(HelpOf("prefix_cache"), HasSubstr("(default: true)"));
  EXPECT_THAT(HelpOf("threads"), HasSubstr("default: affinity"));
  EXPECT_THAT(HelpOf("tuning_cache"), HasSubstr("(default: none)"));
}

TEST(ServerConfigTest, WrongValuesNameLineKeyValueAndWhatIsWanted) {
  int refused = 0;
  for (const SettingCase& c : SettingCases()) {
    if (c.wrong == nullptr) continue;
    ++refused;
    EXPECT_THAT(
        ErrorOf(absl::StrFormat("\n%s: '%s'", c.key, c.wrong)),
        AllOf(StartsWith("s.yaml:2: "), HasSubstr(c.key), HasSubstr(c.wrong), HasSubstr(c.wanted)));
  }
  EXPECT_EQ(refused, 34);
}

TEST(ServerConfigTest, SizesHaveBinaryUnits) {
  const std::map<std::string, int64_t> sizes = {{"1", 1},
                                                {"12B", 12},
                                                {"3KiB", 3072},
                                                {"1.5MiB", 1572864},
                                                {"2GiB", int64_t{2} << 30},
                                                {"1TiB", int64_t{1} << 40}};
  for (const auto& [text, bytes] : sizes) {
    ServerConfig config;
    ASSERT_TRUE(ApplySetting("kv_memory", text, config).ok()) << text;
    EXPECT_EQ(config.kv_memory_bytes, bytes) << text;
  }
  for (const std::string wrong :
       {"", "GiB", "0", "0.5B", "-1GiB", "nan", "inf", "1e30GiB", "1 G"}) {
    ServerConfig config;
    EXPECT_TRUE(absl::IsInvalidArgument(ApplySetting("kv_memory", wrong, config))) << wrong;
    EXPECT_EQ(config.kv_memory_bytes, 0) << wrong;
  }
}

TEST(ServerConfigTest, SharesAreNumbersFrom0) {
  for (const std::string wrong : {"", "nan", "-1", "95%"}) {
    ServerConfig config;
    EXPECT_TRUE(absl::IsInvalidArgument(ApplySetting("brownout_pages", wrong, config))) << wrong;
    EXPECT_EQ(config.brownout_pages, 0.95) << wrong;
  }
  ServerConfig config;
  EXPECT_TRUE(ApplySetting("brownout_pages", "0", config).ok());
  EXPECT_EQ(config.brownout_pages, 0);
  EXPECT_TRUE(ApplySetting("brownout_pages", "inf", config).ok());
  EXPECT_GT(config.brownout_pages, 1);
}

TEST(ServerConfigTest, FairShareNamesAMetadataKey) {
  for (const std::string wrong : {"metadata:", "metadata: x", "metadata:x y",
                                  "request.experiment_key", "metadata:caf\u00e9"}) {
    ServerConfig config;
    EXPECT_TRUE(absl::IsInvalidArgument(ApplySetting("fair_share", wrong, config))) << wrong;
    EXPECT_EQ(config.tenant_key(), "") << wrong;
  }
  ServerConfig config;
  ASSERT_TRUE(ApplySetting("fair_share", "metadata:x", config).ok());
  EXPECT_EQ(config.tenant_key(), "x");
  ASSERT_TRUE(ApplySetting("fair_share", "", config).ok());
  EXPECT_EQ(config.tenant_key(), "") << "off";
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
  EXPECT_TRUE(absl::IsNotFound(ApplySetting("levels", "x", *std::make_unique<ServerConfig>())));
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
      {"policy:\n  max_n: 0", "s.yaml:2: max_n: '0' is not a whole number from 1 to 16"},
      {"policy:\n  max_n: 17", "s.yaml:2: max_n: '17'"},
      {"policy:\n  max_logprobs: 21", "s.yaml:2: max_logprobs: '21'"},
      {"policy:\n  max_logprobs: 1.5", "s.yaml:2: max_logprobs: '1.5'"},
      {"policy:\n  max_tenant_running: -1", "s.yaml:2: max_tenant_running: '-1'"},
      {"policy:\n  max_tenant_queued: [1]", "s.yaml:2: max_tenant_queued: one value"},
      {"policy:\n  share_prefix_cache_across_tenants: 2",
       "s.yaml:2: share_prefix_cache_across_tenants: '2'"},
      {"\nbrownout: 0.5", "s.yaml:2: brownout: a mapping"},
      {"brownout:\n  queue: [1]", "s.yaml:2: brownout.queue: one value"},
      {"brownout:\n  pages: much", "s.yaml:2: brownout_pages: 'much' is not a share"},
      {"\nexperiments: {}", "s.yaml:2: experiments: a list"},
      {"experiments:\n- arms: 5", "s.yaml:2: arms: a list"},
      {"experiments:\n- name: e", "s.yaml:2: an experiment has a name, a unit and arms"},
      {"experiments:\n- arms:\n  - {name: a, level: full}", "s.yaml:3: an arm has"},
      {"experiments:\n- arms:\n  - {weight: 0}", "s.yaml:3: weight: '0'"},
      {"experiments:\n- arms:\n  - {weight: .inf}", "s.yaml:3: weight: '.inf'"},
      {"experiments:\n- shadow: {fraction: 0.1}", "s.yaml:2: experiments.shadow"},
      {"buckets:\n  step_rows: 5", "s.yaml:2: step_rows: a list"},
      {"buckets:\n  step_rows: [1, x]", "s.yaml:2: step_rows: 'x'"},
      {"buckets:\n  step_rows: [2, 2]", "s.yaml:2: step_rows: bounds must ascend"},
      {"threads: 'a", "s.yaml:1: "},
      {"a: b: c", "s.yaml:1: "}};
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(ErrorOf(text), StartsWith(message)) << text;
  }
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
  EXPECT_EQ(config.policy.max_tenant_running, 0) << "no limit";
  EXPECT_EQ(config.policy.max_tenant_queued, 0);
  EXPECT_FALSE(config.policy.share_prefix_cache_across_tenants);
  const absl::Status status = Read(
      "policy: {max_priority: 5, max_n: 2, max_logprobs: 0, max_tenant_running: 7,\n"
      "         max_tenant_queued: 8, share_prefix_cache_across_tenants: true}",
      config);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(config.policy.max_priority, 5);
  EXPECT_EQ(config.policy.max_n, 2);
  EXPECT_EQ(config.policy.max_logprobs, 0);
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
  EXPECT_EQ(config.brownout_queue, 0.75);
  EXPECT_EQ(config.brownout_pages, 1);
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
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--config=" + file}, "s.yaml:2: threads: 'none'"},
      {{"--config=" + dir.path() + "/absent"}, "absent: the configuration cannot be read"},
      {{"--threads=none"}, "--threads: 'none'"},
      {{"--check"}, "model: none is given"},
      {{"--check", "--model=synthetic:llama-2-7b", "--default_level=deep"}, "default_level"},
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
