#include "server/answer_bound.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/support/byte_tokenizer.h"

namespace skipstone::server {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(AnswerBoundTest, NoTokenIsLarger) {
  // A byte that is not UTF-8 is sent as three.
  const ByteTokenizer tokenizer({"a", "\xff\xff\xff\xff\xff\xff", " word"});
  EXPECT_EQ(LongestTokenText(tokenizer), 18);
  const AnswerBound bound(18);
  v1::ScoreResult result;
  v1::Token& token = *result.add_tokens();
  token.set_id(0x7fffffff);
  token.set_logprob(-1);
  token.set_text(std::string(18, 'x'));
  EXPECT_GE(bound.Token(0), static_cast<int64_t>(result.ByteSizeLong()));
  for (int i = 0; i < 20; ++i) {
    v1::TopToken& top = *token.add_top();
    top.set_id(0x7fffffff);
    top.set_logprob(-1);
    top.set_text(token.text());
  }
  EXPECT_GE(bound.Token(20), static_cast<int64_t>(result.ByteSizeLong()));
  EXPECT_LE(bound.Token(20), 2 * static_cast<int64_t>(result.ByteSizeLong()));
}

FakeServerOptions LongContext() {
  return {.num_pages = 200000, .max_context = 100000, .max_batch_tokens = 512};
}

TEST(AnswerBoundTest, AScoreThatCouldNotBeSentIsRefusedBeforeAnyWork) {
  FakeServer server(LongContext());
  v1::ScoreRequest request;
  request.set_top_logprobs(20);
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 60000; ++j) {
      if (j == 0) request.add_items();
      request.mutable_items(i)->mutable_prompt()->mutable_token_ids()->add_ids(7);
    }
  }
  grpc::ClientContext context;
  v1::ScoreResponse response;
  const grpc::Status status = server.stub().Score(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_THAT(status.error_message(), AllOf(HasSubstr("can never fit 67108864 bytes"),
                                            HasSubstr("split the items over several calls")));
  EXPECT_EQ(CopyOf(context.GetServerTrailingMetadata()).at("grpc-retry-pushback-ms"), "-1");
  EXPECT_EQ(server.gate().arrivals(), 0);
  EXPECT_EQ(server.Outcomes("rejected"), 1);
}

TEST(AnswerBoundTest, AUnaryGenerateThatCouldNotBeSentIsRefusedBeforeAnyWork) {
  FakeServer server(LongContext());
  v1::GenerateRequest request = Prompt("5 6 7", 50000);
  request.set_n(4);
  request.mutable_output()->set_logprobs(20);
  const auto answer = server.Generate(request);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(answer.status.error_message(),
              AllOf(HasSubstr("can never fit 67108864 bytes"), HasSubstr("GenerateStream")));
  EXPECT_EQ(answer.trailing.at("grpc-retry-pushback-ms"), "-1");
  EXPECT_EQ(server.gate().arrivals(), 0);
  request.mutable_stopping()->set_max_tokens(5);
  EXPECT_TRUE(server.Generate(request).status.ok());
  request.mutable_output()->Clear();
  request.mutable_output()->set_prompt_logprobs(20);
  request.set_n(16);
  for (int i = 0; i < 40000; ++i) request.mutable_token_ids()->add_ids(7);
  EXPECT_EQ(server.Generate(request).status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace skipstone::server
