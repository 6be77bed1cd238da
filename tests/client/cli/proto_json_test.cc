#include "client/cli/proto_json.h"

#include <cmath>
#include <sstream>

#include "gtest/gtest.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::client {
namespace {

using Json = nlohmann::ordered_json;

TEST(ProtoJsonTest, FieldsKeepNameTypeAndOrder) {
  v1::Finished finished;
  finished.set_index(2);
  finished.set_reason(v1::MAX_TOKENS);
  finished.mutable_usage()->set_prompt_tokens(7);
  finished.mutable_timing()->set_e2e_ms(1.5);
  finished.set_kv_pages_used(1ull << 53);
  EXPECT_EQ(ProtoToJson(finished).dump(),
            R"({"index":2,"reason":"MAX_TOKENS",)"
            R"("usage":{"prompt_tokens":7,"completion_tokens":0,"cached_prompt_tokens":0},)"
            R"("timing":{"queue_ms":0.0,"prefill_ms":0.0,"decode_ms":0.0,"ttft_ms":0.0,)"
            R"("e2e_ms":1.5,"attributed_ms":0.0,"preemptions":0},)"
            R"("kv_pages_used":9007199254740992,"kv_pages_windowed":0,"kv_pages_omitted":0,)"
            R"("applied":[]})");
}

TEST(ProtoJsonTest, OptionalFieldsAreThereOnlyIfSet) {
  v1::Token token;
  EXPECT_FALSE(ProtoToJson(token).contains("logprob"));
  token.set_logprob(-0.5);
  EXPECT_EQ(ProtoToJson(token)["logprob"], -0.5);
  token.set_logprob(std::nanf(""));
  EXPECT_EQ(ProtoToJson(token).dump(), R"({"id":0,"logprob":null,"text":"","top":[]})");
}

TEST(ProtoJsonTest, IdsAreHexadecimal) {
  v1::AppliedSkip skip;
  skip.set_skip_id(0x00ab'cdef'0123'4567);
  skip.mutable_layers()->add_attention(3);
  skip.mutable_layers()->add_windowed()->set_tokens(64);
  const Json json = ProtoToJson(skip);
  EXPECT_EQ(json["skip_id"], "00abcdef01234567");
  EXPECT_EQ(json["layers"].dump(),
            R"({"attention":[3],"mlp":[],"windowed":[{"layer":0,"tokens":64}]})");
}

TEST(ProtoJsonTest, RepeatedMessagesAndStrings) {
  v1::GetModelResponse model;
  model.add_levels()->set_name("full");
  model.add_levels()->set_name("deep");
  model.set_allow_custom_skip(true);
  const Json json = ProtoToJson(model);
  EXPECT_EQ(json["levels"].size(), 2);
  EXPECT_EQ(json["levels"][1]["name"], "deep");
  EXPECT_EQ(json["allow_custom_skip"], true);
}

TEST(ProtoJsonTest, BytesThatAreNotUtf8ArePrintedAsReplacements) {
  std::ostringstream out;
  PrintJson({{"message", "\xff!"}}, out);
  EXPECT_EQ(out.str(), "{\n  \"message\": \"\ufffd!\"\n}\n");
}

}  // namespace
}  // namespace skipstone::client
