#include "base/experiment/exposure_record.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::experiment {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// Every field has a value that is not its default.
ExposureRecord Full() {
  ExposureRecord record;
  record.time_unix_ms = 1795000000123;
  record.request_id = "r-1";
  record.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  record.exposures = {
      {.experiment = "attn-skip-1",
       .layer = "skip",
       .design = Design::kSwitchback,
       .generation = {0xabcdef},
       .reason = Reason::kSplit,
       .arm = "treatment",
       .share = 0.25,
       .window = ExposureWindow{29916666, 29916667, 7479166, 60, false}},
      {.experiment = "prompt-2", .reason = Reason::kUnitMissing, .unit = Hash{~uint64_t{0}}}};
  record.level = "attn-33";
  record.skip_id = {0x123456789abcdef0};
  record.compensation = Hash{7};
  record.enlarged = true;
  record.outcome = "time_limit";
  record.queue_s = 0.001;
  record.ttft_s = 0.25;
  record.itl_mean_s = 0.0125;
  record.e2e_s = 3.5;
  record.attributed_s = 0.75;
  record.prompt_tokens = 100;
  record.cached_prompt_tokens = 64;
  record.generated_tokens = 20;
  record.kv_pages_used = 300;
  record.kv_pages_omitted = 150;
  record.shadow.emplace();
  record.shadow->sums = {.tokens = 20, .nll = 30.5, .kl = 0.125, .brier = 2.5, .agrees = 19};
  record.shadow->sums.bins[14] = {.tokens = 20, .correct = 18, .confidence = 19.5};
  record.shadow->logprob_difference = -0.0625;
  record.text = ExposureText{"In the \"beginning\"\n", {"was", "\u00fc"}};
  return record;
}

std::string ErrorOf(const std::string& line) {
  const auto read = ParseExposure(line);
  EXPECT_TRUE(absl::IsInvalidArgument(read.status())) << line;
  return std::string(read.status().message());
}

TEST(ExposureRecordTest, OneLineHoldsEveryField) {
  const ExposureRecord record = Full();
  const std::string line = FormatExposure(record);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto read = ParseExposure(line);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(FormatExposure(*read), line);
  // Against a reader and a writer that forget the same.
  EXPECT_EQ(read->time_unix_ms, record.time_unix_ms);
  EXPECT_EQ(read->request_id, "r-1");
  EXPECT_EQ(read->traceparent, record.traceparent);
  EXPECT_EQ(read->exposures, record.exposures);
  EXPECT_EQ(read->level, "attn-33");
  EXPECT_EQ(read->skip_id, record.skip_id);
  EXPECT_EQ(read->compensation, record.compensation);
  EXPECT_TRUE(read->enlarged);
  EXPECT_EQ(read->outcome, "time_limit");
  EXPECT_EQ(read->queue_s, 0.001);
  EXPECT_EQ(read->ttft_s, 0.25);
  EXPECT_EQ(read->itl_mean_s, 0.0125);
  EXPECT_EQ(read->e2e_s, 3.5);
  EXPECT_EQ(read->attributed_s, 0.75);
  EXPECT_EQ(read->prompt_tokens, 100);
  EXPECT_EQ(read->cached_prompt_tokens, 64);
  EXPECT_EQ(read->generated_tokens, 20);
  EXPECT_EQ(read->kv_pages_used, 300);
  EXPECT_EQ(read->kv_pages_omitted, 150);
  EXPECT_EQ(read->text, record.text);
  ASSERT_TRUE(read->shadow.has_value());
  EXPECT_EQ(read->shadow->sums.tokens, 20);
  EXPECT_EQ(read->shadow->sums.nll, 30.5);
  EXPECT_EQ(read->shadow->sums.kl, 0.125);
  EXPECT_EQ(read->shadow->sums.brier, 2.5);
  EXPECT_EQ(read->shadow->sums.agrees, 19);
  EXPECT_EQ(read->shadow->sums.bins[14].correct, 18);
  EXPECT_EQ(read->shadow->logprob_difference, -0.0625);
}

// What others read: the names of OpenFeature's evaluation details, hashes as text.
TEST(ExposureRecordTest, NamesAndFormsAreFixed) {
  const json line = json::parse(FormatExposure(Full()));
  EXPECT_EQ(line["schema"], "skipstone.exposure/1");
  EXPECT_EQ(line["skip_id"], "123456789abcdef0");
  EXPECT_EQ(line["exposures"][0],
            json::parse(R"({"flag_key": "attn-skip-1", "layer": "skip", "design": "switchback",
                "generation": "0000000000abcdef", "reason": "SPLIT", "variant": "treatment",
                "variant_share": 0.25,
                "window": {"index": 29916666, "ended_index": 29916667, "block": 7479166,
                           "seconds": 60.0, "counted": false}})"));
  EXPECT_EQ(line["exposures"][1]["reason"], "ERROR");
  EXPECT_EQ(line["exposures"][1]["error_code"], "TARGETING_KEY_MISSING");
  EXPECT_EQ(line["exposures"][1]["targeting_key_hash"], "ffffffffffffffff");
}

TEST(ExposureRecordTest, EveryReasonIsReadAsItWasWritten) {
  std::set<std::string> written;
  for (int i = 0; i <= static_cast<int>(Reason::kUnknownArm); ++i) {
    ExposureRecord record;
    Exposure exposure{.experiment = "e", .reason = static_cast<Reason>(i)};
    if (exposure.assigned()) exposure.arm = "a";
    record.exposures = {exposure};
    const std::string line = FormatExposure(record);
    EXPECT_TRUE(written.insert(line).second);
    const auto read = ParseExposure(line);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->exposures[0], exposure) << NameOf(exposure.reason);
  }
}

TEST(ExposureRecordTest, WhatIsNotThereIsNotWritten) {
  const std::string line = FormatExposure({});
  for (const char* field :
       {"traceparent", "compensation", "ttft_s", "itl_mean_s", "shadow", "text", "null"}) {
    EXPECT_EQ(line.find(field), std::string::npos) << field;
  }
  const auto read = ParseExposure(line);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->ttft_s.has_value());
  EXPECT_EQ(read->Of("e"), nullptr);
  EXPECT_EQ(Full().Of("prompt-2")->reason, Reason::kUnitMissing);
}

TEST(ExposureRecordTest, BytesAndNumbersOfAnyKindMakeAValidLine) {
  ExposureRecord record;
  record.request_id = "\xff\x01";
  record.e2e_s = std::numeric_limits<double>::quiet_NaN();
  record.ttft_s = std::numeric_limits<double>::infinity();
  const auto read = ParseExposure(FormatExposure(record));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->request_id, "\ufffd\x01");
  EXPECT_EQ(read->e2e_s, 0);
}

TEST(ExposureRecordTest, LinesOfOtherKindsSayWhatTheyAre) {
  const std::string line = FormatExposure(Full());
  for (size_t length = 0; length + 2 < line.size(); length += 7) {
    EXPECT_EQ(ErrorOf(line.substr(0, length)), "the line is torn, or no JSON") << length;
  }
  for (const char* foreign : {"5", "[]", "null", "{}", R"({"schema": 1})", R"(["schema"])",
                              R"({"schema": "skipstone.exposure/2"})"}) {
    EXPECT_EQ(ErrorOf(foreign), "no exposure record: its schema is not skipstone.exposure/1");
  }
}

TEST(ExposureRecordTest, NoBytesDoHarm) {
  const std::string line = FormatExposure(Full());
  std::mt19937 random(3);
  for (int i = 0; i < 20000; ++i) {
    std::string changed = line;
    for (int n = 0; n < 1 + i % 4; ++n) {
      changed[random() % changed.size()] = static_cast<char>(random());
    }
    const auto read = ParseExposure(changed);
    EXPECT_TRUE(!read.ok() || ParseExposure(FormatExposure(*read)).ok()) << changed;
  }
  ErrorOf(std::string(1 << 20, '['));
  ErrorOf(std::string(1 << 20, '[') + std::string(1 << 20, ']'));
}

// Every value in turn is taken away, and made one of another kind.
TEST(ExposureRecordTest, EveryFieldIsCheckedAndNamed) {
  const json line = json::parse(FormatExposure(Full()));
  const std::set<std::string> optional = {"traceparent", "compensation", "ttft_s",
                                          "itl_mean_s",  "shadow",       "text"};
  for (const auto& [key, value] : line.items()) {
    json changed = line;
    changed[key] = value.is_object() ? json(1) : json::object();
    EXPECT_THAT(ErrorOf(changed.dump()), HasSubstr(key));
    changed.erase(key);
    if (optional.contains(key)) {
      EXPECT_TRUE(ParseExposure(changed.dump()).ok()) << key;
    } else {
      EXPECT_THAT(ErrorOf(changed.dump()), HasSubstr(key));
    }
  }
  json more = line;
  more["of_a_later_version"] = 1;
  EXPECT_TRUE(ParseExposure(more.dump()).ok());
}

TEST(ExposureRecordTest, WrongValuesNameTheirPath) {
  const json line = json::parse(FormatExposure(Full()));
  const auto with = [&](const char* pointer, const json& value) {
    json changed = line;
    changed[json::json_pointer(pointer)] = value;
    return ErrorOf(changed.dump());
  };
  EXPECT_THAT(with("/prompt_tokens", -1), HasSubstr("prompt_tokens is not a whole number from 0"));
  EXPECT_THAT(with("/prompt_tokens", 1.5), HasSubstr("prompt_tokens is not a whole number"));
  EXPECT_THAT(with("/e2e_s", "1"), HasSubstr("e2e_s is not a number"));
  EXPECT_THAT(with("/skip_id", "123"), HasSubstr("skip_id is not 16 hexadecimal digits"));
  EXPECT_THAT(with("/skip_id", "-23456789abcdef0"), HasSubstr("skip_id is not 16"));
  EXPECT_THAT(with("/exposures/1/design", "both"), HasSubstr("exposures[1].design is not mixed"));
  EXPECT_THAT(with("/exposures/0/window/block", nullptr), HasSubstr("exposures[0].window.block"));
  EXPECT_THAT(with("/exposures/0/reason", "WHIM"), HasSubstr("reason 'WHIM' is unknown"));
  EXPECT_THAT(with("/exposures/0/variant", ""), HasSubstr("variant contradicts reason"));
  EXPECT_THAT(with("/exposures/0/design", "mixed"), HasSubstr("window contradicts design"));
  EXPECT_THAT(with("/shadow/calibration/3", json::array({1, 2})),
              HasSubstr("shadow.calibration[3] is not [tokens"));
  EXPECT_THAT(with("/shadow/calibration", json::array()), HasSubstr("a list of the right length"));
}

}  // namespace
}  // namespace skipstone::experiment
