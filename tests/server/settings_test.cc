// The settings, all by their table: a new one needs no line here.
#include "server/settings.h"

#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/server_config.h"
#include "tests/support/paths.h"
#include "tests/support/test_data.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;

absl::Status Set(ServerConfig& config, const std::string& key, const std::string& text) {
  FlagSet settings;
  config.AddTo(settings);
  return settings.Set(key, text);
}

// What each setting would say of itself.
std::map<std::string, std::string> TextsOf(ServerConfig config) {
  FlagSet settings;
  config.AddTo(settings);
  std::map<std::string, std::string> texts;
  for (const FlagSet::Flag& flag : settings.flags()) texts[flag.name] = flag.value.write();
  return texts;
}

// A value that the setting takes and that is not its default.
std::string OtherValueOf(const std::string& key) {
  for (const char* text : {"false", "true", "64MiB", "17", "0.25", "90s", "[::1]:7", "metadata:X-Y",
                           "any", "cpu", "json", "warn", "half=h:1", "word"}) {
    ServerConfig config;
    if (Set(config, key, text).ok() && TextsOf(config) != TextsOf({})) return text;
  }
  ADD_FAILURE() << key << ": no value of this list is taken and not the default";
  return "";
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

TEST(SettingsTest, EverySettingIsAKeyOfTheFileAndChangesItselfAlone) {
  std::set<std::string> keys;
  for (const auto& [key, default_text] : TextsOf({})) {
    EXPECT_TRUE(keys.insert(key).second) << key << " stands twice in the table";
    const std::string value = OtherValueOf(key);
    ServerConfig config;
    const absl::Status status = Read(absl::StrFormat("%s: '%s'", key, value), config);
    EXPECT_TRUE(status.ok()) << key << ": " << status;
    auto texts = TextsOf(config);
    EXPECT_NE(texts[key], default_text) << key;
    ServerConfig again;
    EXPECT_TRUE(Set(again, key, texts[key]).ok()) << key << ": what it says of itself is taken";
    EXPECT_EQ(TextsOf(again), texts) << key;
    texts[key] = default_text;
    EXPECT_EQ(texts, TextsOf({})) << key << " changes another";
  }
}

TEST(SettingsTest, HelpTellsValuesAndDefaultOfEverySetting) {
  ServerConfig config;
  FlagSet settings;
  config.AddTo(settings);
  const std::map<std::string, std::string> known = {
      {"listen", "127.0.0.1:50051"}, {"metrics_listen", "0.0.0.0:9400"},
      {"drain_timeout", "30s"},      {"itl_bound", "0"},
      {"grpc_memory", "512MiB"},     {"brownout_pages", "0.95"},
      {"prefix_cache", "true"},      {"max_batch_tokens", "512"},
      {"tuning_cache", "none"}};
  for (const auto& [key, text] : known) {
    EXPECT_THAT(settings.Help(), testing::ContainsRegex(
                                     "--" + key + "(: [^\n]*)?\n[^\n]*.default: " + text + ".\n"));
  }
  EXPECT_THAT(settings.Help(), HasSubstr("CPU threads; default: affinity and cgroup limits\n"));
}

TEST(SettingsTest, WrongValuesNameLineKeyValueAndWhatIsWanted) {
  ServerConfig config;
  FlagSet settings;
  config.AddTo(settings);
  for (const FlagSet::Flag& flag : settings.flags()) {
    if (flag.value.wanted.empty()) continue;  // any text
    EXPECT_EQ(ErrorOf(absl::StrFormat("\n%s: '?'", flag.name)),
              absl::StrFormat("s.yaml:2: %s: '?' is not %s", flag.name, flag.value.wanted));
  }
}

// Of each kind of value, beside the whole numbers.
TEST(SettingsTest, WrongValuesAreRefused) {
  const std::pair<const char*, std::vector<const char*>> cases[] = {
      {"listen", {"127.0.0.1", "localhost:65536", ":8", "", "::1:8", "[::1:8", "::1]:8", "[]:8"}},
      {"max_connection_age", {"old", "25h", "-1s", "10", ""}},
      {"max_connections", {"0", "65537", "1.5", "many", "99999999999999999999", ""}},
      {"kv_pages", {"0", "2147483648"}},
      {"backend", {"tpu", "CPU", ""}},
      {"liveness", {"maybe", "2", ""}}};
  for (const auto& [key, texts] : cases) {
    for (const char* text : texts) {
      ServerConfig config;
      EXPECT_TRUE(absl::IsInvalidArgument(Set(config, key, text))) << key << " " << text;
      EXPECT_EQ(TextsOf(config), TextsOf({}));
    }
  }
}

// The documents' examples are valid, and the flags that they name exist.
TEST(SettingsTest, TheReadmesKeysAndFlagsAreKnown) {
  ServerConfig config;
  FlagSet settings;
  config.AddTo(settings);
  std::string readme = ReadTestFile(SourcePath("README.md"));
  // The flags of skipstone-calibrate have a test beside it; those of the client are named below.
  const size_t calibrate = readme.find("## Choose a level");
  ASSERT_NE(calibrate, std::string::npos);
  readme.erase(calibrate, readme.find("\n## ", calibrate) - calibrate);
  const size_t begin = readme.find("```yaml\n") + 8;
  const absl::Status status = Read(readme.substr(begin, readme.find("```", begin) - begin), config);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(config.policy.max_n, PolicyConfig().max_n) << "as the README says";
  const std::set<std::string> no_settings = {"help", "config", "ceiling", "tls", "tls_ca"};
  const std::regex flag("`--([a-z_]+)");
  std::set<std::string> found;
  for (auto it = std::sregex_iterator(readme.begin(), readme.end(), flag);
       it != std::sregex_iterator(); ++it) {
    found.insert((*it)[1].str());
  }
  EXPECT_TRUE(found.contains("listen")) << "what this test looks for";
  for (const std::string& name : found) {
    EXPECT_TRUE(settings.Find(name) != nullptr || no_settings.contains(name)) << name;
  }
}

TEST(SettingsTest, SizesHaveBinaryUnits) {
  const std::map<std::string, int64_t> sizes = {{"1", 1},
                                                {"12B", 12},
                                                {"3KiB", 3072},
                                                {"1.5MiB", 1572864},
                                                {"2GiB", int64_t{2} << 30},
                                                {"1TiB", int64_t{1} << 40}};
  for (const auto& [text, bytes] : sizes) {
    ServerConfig config;
    ASSERT_TRUE(Set(config, "kv_memory", text).ok()) << text;
    EXPECT_EQ(config.kv_memory_bytes, bytes) << text;
  }
  for (const std::string wrong :
       {"", "GiB", "0", "0.5B", "-1GiB", "nan", "inf", "1e30GiB", "1 G"}) {
    ServerConfig config;
    EXPECT_TRUE(absl::IsInvalidArgument(Set(config, "kv_memory", wrong))) << wrong;
    EXPECT_EQ(config.kv_memory_bytes, 0) << wrong;
  }
}

TEST(SettingsTest, SharesAreNumbersFrom0) {
  for (const std::string wrong : {"", "nan", "-1", "95%"}) {
    ServerConfig config;
    EXPECT_TRUE(absl::IsInvalidArgument(Set(config, "brownout_pages", wrong))) << wrong;
    EXPECT_EQ(config.engine.scheduler.brownout_pages, 0.95) << wrong;
  }
  ServerConfig config;
  EXPECT_TRUE(Set(config, "brownout_pages", "0").ok());
  EXPECT_EQ(config.engine.scheduler.brownout_pages, 0);
  EXPECT_TRUE(Set(config, "brownout_pages", "inf").ok());
  EXPECT_GT(config.engine.scheduler.brownout_pages, 1);
}

TEST(SettingsTest, FairShareNamesAMetadataKey) {
  for (const std::string wrong : {"metadata:", "metadata: x", "metadata:x y",
                                  "request.experiment_key", "metadata:caf\u00e9"}) {
    ServerConfig config;
    EXPECT_TRUE(absl::IsInvalidArgument(Set(config, "fair_share", wrong))) << wrong;
    EXPECT_EQ(config.tenant_key(), "") << wrong;
  }
  ServerConfig config;
  ASSERT_TRUE(Set(config, "fair_share", "metadata:x").ok());
  EXPECT_EQ(config.tenant_key(), "x");
  ASSERT_TRUE(Set(config, "fair_share", "").ok());
  EXPECT_EQ(config.tenant_key(), "") << "off";
}

}  // namespace
}  // namespace skipstone::server
