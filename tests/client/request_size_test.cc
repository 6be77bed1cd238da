#include "client/request_size.h"

#include <string>

#include "client/channel.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::client {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::string Refusal(const google::protobuf::Message& request) {
  const absl::Status status = CheckRequestSize(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(RequestSizeTest, TheLimitItselfCanBeSent) {
  v1::TokenizeRequest request;
  request.set_text(std::string(kMaxRequestBytes - 5, 'x'));
  ASSERT_EQ(request.ByteSizeLong(), kMaxRequestBytes);
  EXPECT_TRUE(CheckRequestSize(request).ok());
  request.mutable_text()->push_back('x');
  EXPECT_EQ(Refusal(request),
            "text: 4194305 of the request's 4194305 bytes; a request may have at most 4194304");
  EXPECT_TRUE(CheckRequestSize(v1::GetLoadRequest()).ok());
}

TEST(RequestSizeTest, TheLargestFieldIsNamedWithItsPath) {
  const std::string large(3 << 20, 'x');
  v1::GenerateRequest request;
  request.mutable_skip()->set_spec(large);
  request.set_cache_salt(std::string(2 << 20, 'y'));
  EXPECT_THAT(Refusal(request), AllOf(StartsWith("skip.spec: 3145733 of"), HasSubstr(" 5242")));

  request.Clear();
  for (int i = 0; i < 200'000; ++i) {
    request.mutable_chat()->add_messages()->set_content("so many messages of a few bytes");
  }
  EXPECT_THAT(Refusal(request), StartsWith("chat.messages: "));

  request.Clear();
  for (int i = 0; i < 3'000'000; ++i) request.mutable_token_ids()->add_ids(300);
  EXPECT_THAT(Refusal(request), StartsWith("token_ids.ids: 6000005 of"));

  v1::ScoreRequest score;
  score.add_items()->mutable_prompt()->set_text(large);
  score.add_items()->mutable_prompt()->set_text(large);
  EXPECT_THAT(Refusal(score), StartsWith("items: "));

  v1::AbortRequest abort;
  abort.add_request_ids(large + large);
  EXPECT_THAT(Refusal(abort), StartsWith("request_ids: "));
}

TEST(RequestSizeTest, MapsAreFieldsToo) {
  v1::GenerateRequest request;
  for (int i = 0; i < 500'000; ++i) (*request.mutable_sampling()->mutable_logit_bias())[i] = 1;
  EXPECT_THAT(Refusal(request), StartsWith("sampling.logit_bias: "));
}

}  // namespace
}  // namespace skipstone::client
