#include "client/cli/generation.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/scripted_server.h"

namespace skipstone::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

const steady_clock::time_point kSent = steady_clock::time_point(std::chrono::hours(1));

v1::GenerateEvent AcceptedEvent() {
  v1::GenerateEvent event;
  v1::Accepted& accepted = *event.mutable_accepted();
  accepted.set_request_id("r1");
  accepted.set_prompt_tokens(5);
  accepted.mutable_applied_skip()->set_level("attn-33");
  accepted.mutable_applied_skip()->set_spec("attn:3");
  return event;
}

v1::GenerateEvent Finished(uint32_t tokens, uint32_t index = 0) {
  v1::GenerateEvent event = FinishedEvent(v1::MAX_TOKENS, index);
  event.mutable_finished()->mutable_usage()->set_completion_tokens(tokens);
  event.mutable_finished()->set_kv_pages_used(24);
  event.mutable_finished()->set_kv_pages_windowed(6);
  event.mutable_finished()->set_kv_pages_omitted(12);
  return event;
}

TEST(GenerationTest, CollectsTextTokensAndTimes) {
  Generation generation(kSent);
  generation.Add(AcceptedEvent(), kSent + milliseconds(10));
  v1::GenerateEvent delta = DeltaEvent("a");
  delta.mutable_delta()->add_tokens()->set_id(7);
  generation.Add(delta, kSent + milliseconds(25));
  generation.Add(DeltaEvent("b"), kSent + milliseconds(30));
  generation.Add(DeltaEvent("c"), kSent + milliseconds(45));
  generation.Add(Finished(11), kSent + milliseconds(50));
  ASSERT_EQ(generation.outputs().size(), 1);
  const GeneratedOutput& output = generation.outputs().at(0);
  EXPECT_EQ(output.text, "abc");
  ASSERT_EQ(output.tokens.size(), 1);
  EXPECT_EQ(output.tokens[0].id(), 7);
  EXPECT_DOUBLE_EQ(generation.TtftMs(output), 25);
  EXPECT_DOUBLE_EQ(output.TokensPerSecond(), 10 / 0.020);
  EXPECT_EQ(generation.SummaryLine(output),
            "5 prompt tokens, 11 tokens, 500.0 tokens/s, TTFT 25.0 ms, "
            "KV pages 24 used + 6 windowed + 12 omitted, skip attn-33 (attn:3), MAX_TOKENS");
}

TEST(GenerationTest, SummaryNamesArmAndChangesOfTheSkip) {
  Generation generation(kSent);
  v1::GenerateEvent accepted = AcceptedEvent();
  accepted.mutable_accepted()->mutable_applied_skip()->set_experiment("exp");
  accepted.mutable_accepted()->mutable_applied_skip()->set_arm("control");
  generation.Add(accepted, kSent);
  v1::GenerateEvent finished = Finished(1);
  v1::AppliedRange& range = *finished.mutable_finished()->add_applied();
  range.set_from_token(9);
  range.mutable_applied_skip()->set_spec("attn:2-3");
  generation.Add(finished, kSent);
  EXPECT_THAT(generation.SummaryLine(generation.outputs().at(0)),
              HasSubstr(", arm exp/control, from token 9 attn:2-3, MAX_TOKENS"));
}

TEST(GenerationTest, SummaryNamesTheCompensation) {
  Generation generation(kSent);
  v1::GenerateEvent accepted = AcceptedEvent();
  v1::AppliedSkip& skip = *accepted.mutable_accepted()->mutable_applied_skip();
  skip.set_spec("attn:3@0123456789abcdef");
  skip.mutable_compensation()->set_name("diag");
  skip.mutable_compensation()->set_hash("0123456789abcdef");
  generation.Add(accepted, kSent);
  generation.Add(Finished(1), kSent);
  EXPECT_THAT(generation.SummaryLine(generation.outputs().at(0)),
              HasSubstr("skip attn-33 (attn:3@0123456789abcdef), compensation diag, MAX_TOKENS"));
  EXPECT_EQ(generation.ToJson()["applied_skip"]["compensation"]["name"], "diag");
}

TEST(GenerationTest, RatesThatDoNotExistAreNotNumbers) {
  Generation generation(kSent);
  generation.Add(DeltaEvent("a"), kSent);
  EXPECT_TRUE(std::isnan(generation.outputs().at(0).TokensPerSecond()));
  generation.Add(Finished(1), kSent);
  EXPECT_TRUE(std::isnan(generation.outputs().at(0).TokensPerSecond()));
  generation.Add(Finished(3, 1), kSent);  // no delta at all
  EXPECT_TRUE(std::isnan(generation.outputs().at(1).TokensPerSecond()));
  EXPECT_TRUE(std::isnan(generation.TtftMs(generation.outputs().at(1))));
}

TEST(GenerationTest, JsonHoldsEveryOutput) {
  Generation generation(kSent);
  generation.Add(AcceptedEvent(), kSent);
  v1::GenerateEvent delta = DeltaEvent("b", 1);
  delta.mutable_delta()->add_prompt_tokens()->set_id(3);
  generation.Add(delta, kSent + milliseconds(20));
  generation.Add(DeltaEvent("a", 0), kSent + milliseconds(10));
  generation.Add(Finished(1, 0), kSent + milliseconds(10));
  generation.Add(Finished(1, 1), kSent + milliseconds(20));
  const auto json = generation.ToJson();
  EXPECT_EQ(json["request_id"], "r1");
  EXPECT_EQ(json["applied_skip"]["spec"], "attn:3");
  ASSERT_EQ(json["outputs"].size(), 2);
  EXPECT_EQ(json["outputs"][0]["text"], "a");
  EXPECT_EQ(json["outputs"][1]["index"], 1);
  EXPECT_EQ(json["outputs"][1]["ttft_ms"], 20.0);
  EXPECT_EQ(json["outputs"][1]["reason"], "MAX_TOKENS");
  EXPECT_EQ(json["outputs"][1]["kv_pages_windowed"], 6);
  EXPECT_EQ(json["outputs"][1]["kv_pages_omitted"], 12);
  EXPECT_EQ(json["outputs"][1]["prompt_tokens"][0]["id"], 3);
  EXPECT_FALSE(json["outputs"][1].contains("tokens"));
}

TEST(GenerationTest, JsonOfABrokenStreamKeepsWhatCame) {
  Generation generation(kSent);
  generation.Add(AcceptedEvent(), kSent);
  generation.Add(DeltaEvent("b", 3), kSent);
  const auto json = generation.ToJson();
  ASSERT_EQ(json["outputs"].size(), 1);
  EXPECT_EQ(json["outputs"][0]["index"], 3);
  EXPECT_EQ(json["outputs"][0]["text"], "b");
  EXPECT_FALSE(json["outputs"][0].contains("reason"));
}

}  // namespace
}  // namespace skipstone::client
