// INVALID_ARGUMENT: every documented range, with the field, the value and the limit in the message.
#include <grpcpp/generic/generic_stub.h>

#include <cmath>
#include <future>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/request_fields.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/set_field.h"

namespace skipstone::server {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

struct BadRequest {
  const char* name;
  std::function<void(v1::GenerateRequest&)> spoil;
  std::vector<std::string> message;  // parts of it
};

void PrintTo(const BadRequest& bad, std::ostream* out) { *out << bad.name; }

std::vector<BadRequest> SamplingCases() {
  using R = v1::GenerateRequest;
  return {
      {"LogitBiasId",
       [](R& r) { (*r.mutable_sampling()->mutable_logit_bias())[100] = 1; },
       {"sampling.logit_bias: token id 100", "vocabulary of 100"}},
      {"LogitBiasValue",
       [](R& r) { (*r.mutable_sampling()->mutable_logit_bias())[7] = 101; },
       {"sampling.logit_bias: 101", "[-100, 100]"}},
      {"LogitBiasNan",
       [](R& r) { (*r.mutable_sampling()->mutable_logit_bias())[7] = std::nanf(""); },
       {"sampling.logit_bias: nan"}},
      {"LogitBiasCount",
       [](R& r) {
         for (int i = 0; i < 1025; ++i) (*r.mutable_sampling()->mutable_logit_bias())[i] = 0;
       },
       {"sampling.logit_bias: 1025 entries", "1024"}},
  };
}

std::vector<BadRequest> StoppingCases() {
  using R = v1::GenerateRequest;
  return {
      {"MinTokensAboveMax",
       [](R& r) { r.mutable_stopping()->set_min_tokens(9); },
       {"stopping.min_tokens: 9", "max_tokens, 2"}},
      {"StopStringsCount",
       [](R& r) {
         for (int i = 0; i < 17; ++i) r.mutable_stopping()->add_stop_strings("x");
       },
       {"stopping.stop_strings: 17 strings", "16"}},
      {"StopStringEmpty",
       [](R& r) { r.mutable_stopping()->add_stop_strings(""); },
       {"stopping.stop_strings", "empty"}},
      {"StopStringLong",
       [](R& r) { r.mutable_stopping()->add_stop_strings(std::string(257, 'x')); },
       {"stopping.stop_strings: 257 bytes", "256"}},
      {"StopIdsCount",
       [](R& r) {
         for (int i = 0; i < 65; ++i) r.mutable_stopping()->add_stop_token_ids(i);
       },
       {"stopping.stop_token_ids: 65 ids", "64"}},
      {"StopIdOutside",
       [](R& r) { r.mutable_stopping()->add_stop_token_ids(4000000000u); },
       {"stopping.stop_token_ids: token id 4000000000", "100"}},
      {"LogprobsAbovePolicy",
       [](R& r) { r.mutable_output()->set_logprobs(6); },
       {"output.logprobs: 6,", "policy's limit is 5", "policy.max_logprobs"}},
      {"PromptLogprobsAbovePolicy",
       [](R& r) { r.mutable_output()->set_prompt_logprobs(20); },
       {"output.prompt_logprobs: 20,", "policy's limit is 5", "policy.max_logprobs"}},
  };
}

std::vector<BadRequest> PromptCases() {
  using R = v1::GenerateRequest;
  const auto ids = [](R& r, int count, uint32_t id) {
    r.mutable_token_ids()->clear_ids();
    for (int i = 0; i < count; ++i) r.mutable_token_ids()->add_ids(id);
  };
  return {
      {"PromptMissing", [](R& r) { r.clear_prompt(); }, {"prompt", "text, token_ids or chat"}},
      {"PromptTextEmpty", [](R& r) { r.set_text(""); }, {"text", "empty"}},
      {"PromptIdsEmpty", [](R& r) { r.mutable_token_ids(); }, {"prompt", "no tokens"}},
      {"PromptIdOutside",
       [ids](R& r) { ids(r, 1, 100); },
       {"token_ids: token id 100", "vocabulary of 100"}},
      {"PromptIdNegative", [ids](R& r) { ids(r, 1, 0xffffffff); }, {"token id 4294967295"}},
      {"PromptLong", [ids](R& r) { ids(r, 64, 1); }, {"prompt: 64 tokens", "63", "64"}},
      {"ChatWithoutEnd",
       [](R& r) {
         v1::ChatMessage* message = r.mutable_chat()->add_messages();
         message->set_role("user");
         message->set_content("5");
       },
       {"chat", "end-of-sequence"}},
      {"PriorityAbovePolicy",
       [](R& r) { r.set_priority(1); },
       {"priority: 1,", "policy's limit is 0", "policy.max_priority"}},
      {"NAbovePolicy", [](R& r) { r.set_n(9); }, {"n: 9,", "policy's limit is 8", "policy.max_n"}},
      {"RequestIdLong",
       [](R& r) { r.set_request_id(std::string(129, 'x')); },
       {"request_id: 129 bytes", "128"}},
      {"RequestIdNewline",
       [](R& r) { r.set_request_id("a\nb"); },
       {"request_id", "printable ASCII"}},
      {"RequestIdNotAscii",
       [](R& r) { r.set_request_id("caf\u00e9"); },
       {"request_id", "printable ASCII"}},
  };
}

std::vector<BadRequest> SkipCases() {
  using R = v1::GenerateRequest;
  return {
      {"SkipSpecMalformed",
       [](R& r) { r.mutable_skip()->set_spec("attn:latter"); },
       {"skip.spec", "latter", "4 layers"}},
      {"SkipSpecEmpty", [](R& r) { r.mutable_skip()->set_spec(""); }, {"skip.spec"}},
      {"SkipSpecLayer", [](R& r) { r.mutable_skip()->set_spec("attn:4"); }, {"skip.spec", "4"}},
      {"SkipEverythingBySpec",
       [](R& r) { r.mutable_skip()->set_spec("block:0-3"); },
       {"skip.spec", "block:0-3"}},
      {"SkipLayersOutside",
       [](R& r) { r.mutable_skip()->mutable_layers()->add_attention(4); },
       {"skip.layers.attention: layer 4", "4 layers"}},
      {"SkipMlpOutside",
       [](R& r) { r.mutable_skip()->mutable_layers()->add_mlp(0xffffffff); },
       {"skip.layers.mlp: layer 4294967295", "4 layers"}},
      {"SkipEverythingByLayers",
       [](R& r) {
         for (int i = 0; i < 4; ++i) r.mutable_skip()->mutable_layers()->add_attention(i);
         for (int i = 0; i < 4; ++i) r.mutable_skip()->mutable_layers()->add_mlp(i);
       },
       {"skip.layers", "every sublayer"}},
      {"CeilingMissing",
       [](R& r) { r.mutable_skip()->mutable_adaptive(); },
       {"skip.adaptive", "ceiling"}},
      {"CeilingNoSuperset",
       [](R& r) {
         r.mutable_skip()->set_spec("attn:last=2");
         r.mutable_skip()->mutable_adaptive()->set_ceiling_spec("attn:3");
       },
       {"skip.adaptive", "attn:3", "attn:2-3"}},
      {"CeilingMalformed",
       [](R& r) { r.mutable_skip()->mutable_adaptive()->set_ceiling_spec("attn:9"); },
       {"skip.adaptive.ceiling_spec", "9"}},
      {"CeilingAbovePolicy",
       [](R& r) { r.mutable_skip()->mutable_adaptive()->set_ceiling_spec("attn:0-3"); },
       {"skip.adaptive.ceiling_spec: 4 attention sublayers", "3 of 4"}},
      {"SkipAbovePolicy",
       [](R& r) { r.mutable_skip()->set_spec("attn:0-3"); },
       {"skip.spec: 4 attention sublayers", "3 of 4"}},
  };
}

void AddWindow(v1::GenerateRequest& request, uint32_t layer, uint32_t tokens) {
  v1::WindowedLayer* windowed = request.mutable_skip()->mutable_layers()->add_windowed();
  windowed->set_layer(layer);
  windowed->set_tokens(tokens);
}

BadRequest BadSpec(const char* name, const char* spec, std::vector<std::string> message) {
  message.emplace_back("skip.spec: ");
  return {name, [spec](auto& r) { r.mutable_skip()->set_spec(spec); }, std::move(message)};
}

std::vector<BadRequest> WindowSpecCases() {
  const std::string range = "a multiple of 8 from 16 to 262144";
  return {
      BadSpec("WindowZero", "win:3/0", {"'win:3/0': '0' is not a window", range, "4 layers"}),
      BadSpec("WindowOdd", "win:3/33", {"'33' is not a window", range}),
      BadSpec("WindowHuge", "win:3/1000000000", {"'1000000000' is not a window", range}),
      BadSpec("WindowAbsent", "win:last=2", {"'last=2' has no window"}),
      BadSpec("WindowKeepFinal", "win:last=2/32,keep-final", {"keep-final"}),
      BadSpec("WindowOutside", "win:2-4/32", {"layer 4 is out of range 0-3"}),
      BadSpec("WindowOfSkipped", "win:1-2/32+attn:2", {"layer 2 is both windowed and skipped"}),
      BadSpec("WindowOfBlock", "block:2+win:1-2/32", {"layer 2 is both windowed and skipped"}),
      BadSpec("WindowTwice", "win:3/32,3/64", {"layer 3 has windows of 32 and of 64"}),
      BadSpec("WindowElsewhere", "attn:3/32", {"only items of win: have"}),
      BadSpec("WindowBeyondContext", "win:3/72",
              {"layer 3 has a window of 72 tokens", "context is 64"}),
      BadSpec("WindowBelowPolicy", "win:3/16",
              {"layer 3 has a window of 16 tokens", "least is 24 (policy.min_window)"}),
      BadSpec("WindowsAbovePolicy", "win:0-3/32",
              {"4 attention sublayers are windowed", "2 of 4 (policy.max_windowed_attention)"}),
  };
}

std::vector<BadRequest> WindowCases() {
  using R = v1::GenerateRequest;
  return {
      {"WindowedTokens",
       [](R& r) { AddWindow(r, 3, 1000000000); },
       {"skip.layers.windowed[0]: 1000000000 is not a window", "multiple of 8 from 16 to 262144"}},
      {"WindowedWithoutTokens",
       [](R& r) { AddWindow(r, 3, 0); },
       {"skip.layers.windowed[0]: 0 is not a window"}},
      {"WindowedOutside",
       [](R& r) {
         AddWindow(r, 3, 32);
         AddWindow(r, 4, 32);
       },
       {"skip.layers.windowed[1]: layer 4", "4 layers"}},
      {"WindowedAndSkipped",
       [](R& r) {
         AddWindow(r, 3, 32);
         r.mutable_skip()->mutable_layers()->add_attention(3);
       },
       {"skip.layers.windowed[0]", "layer 3 is both windowed and skipped"}},
      {"WindowedBeyondContext",
       [](R& r) { AddWindow(r, 3, 72); },
       {"skip.layers: layer 3 has a window of 72 tokens", "context is 64"}},
      {"CeilingShrinksAWindow",
       [](R& r) {
         r.mutable_skip()->set_spec("win:2-3/64");
         r.mutable_skip()->mutable_adaptive()->set_ceiling_spec("attn:3+win:2/32");
       },
       {"skip.adaptive", "layer 2 goes from a window of 64 tokens to a window of 32 tokens"}},
      {"CeilingOpensAWindow",
       [](R& r) {
         r.mutable_skip()->set_spec("win:2-3/64");
         r.mutable_skip()->mutable_adaptive()->set_ceiling_spec("win:3/64");
       },
       {"skip.adaptive", "layer 2 goes from a window of 64 tokens to full"}},
      {"CeilingWindowBelowPolicy",
       [](R& r) { r.mutable_skip()->mutable_adaptive()->set_ceiling_spec("win:3/16"); },
       {"skip.adaptive.ceiling_spec: layer 3", "policy.min_window"}},
  };
}

class InvalidArgumentTest : public testing::TestWithParam<BadRequest> {
 protected:
  static void SetUpTestSuite() {
    server_ =
        new FakeServer({.yaml = "policy: {max_skipped_attention: 75%, max_windowed_attention: 50%, "
                                "min_window: 24, max_n: 8, max_logprobs: 5}"});
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  static FakeServer* server_;
};
FakeServer* InvalidArgumentTest::server_ = nullptr;

TEST_P(InvalidArgumentTest, NamesFieldValueAndLimit) {
  v1::GenerateRequest request = Prompt("5 6 7", 2);
  ASSERT_TRUE(server_->Generate(request).status.ok());
  GetParam().spoil(request);
  const auto answer = server_->Generate(request);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  for (const std::string& part : GetParam().message) {
    EXPECT_THAT(answer.status.error_message(), HasSubstr(part));
  }
}

std::string NameOfCase(const testing::TestParamInfo<BadRequest>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Sampling, InvalidArgumentTest, testing::ValuesIn(SamplingCases()),
                         NameOfCase);
INSTANTIATE_TEST_SUITE_P(Stopping, InvalidArgumentTest, testing::ValuesIn(StoppingCases()),
                         NameOfCase);
INSTANTIATE_TEST_SUITE_P(Prompt, InvalidArgumentTest, testing::ValuesIn(PromptCases()), NameOfCase);
INSTANTIATE_TEST_SUITE_P(Skip, InvalidArgumentTest, testing::ValuesIn(SkipCases()), NameOfCase);
INSTANTIATE_TEST_SUITE_P(WindowSpec, InvalidArgumentTest, testing::ValuesIn(WindowSpecCases()),
                         NameOfCase);
INSTANTIATE_TEST_SUITE_P(Window, InvalidArgumentTest, testing::ValuesIn(WindowCases()), NameOfCase);

// Each field that is one value, above its limit and below it.
TEST(InvalidArgumentTest, EveryRangeIsChecked) {
  FakeServer server;
  ForEachRequestField([&](const std::string& path, auto, const FieldLimits& limits, const char*) {
    for (const double value : {limits.least - (limits.above ? 0 : 1), limits.most + 1}) {
      if (std::isinf(value)) continue;
      v1::GenerateRequest request = Prompt("5 6 7", 2);
      SetField(request, path, value);
      const grpc::Status status = server.Generate(request).status;
      EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << path;
      EXPECT_THAT(status.error_message(), StartsWith(path + ": ")) << value;
    }
  });
}

// Values at the ends of the ranges are taken.
TEST(InvalidArgumentTest, TakesTheEndsOfTheRanges) {
  FakeServer server;
  v1::GenerateRequest request = Prompt("5", 3);
  v1::Sampling& sampling = *request.mutable_sampling();
  sampling.set_temperature(2);
  sampling.set_top_p(1);
  sampling.set_top_k(4000000000u);
  sampling.set_min_p(1);
  sampling.set_repetition_penalty(10);
  sampling.set_presence_penalty(-2);
  sampling.set_frequency_penalty(2);
  (*sampling.mutable_logit_bias())[99] = -100;
  v1::Stopping& stopping = *request.mutable_stopping();
  stopping.set_min_tokens(3);
  for (int i = 0; i < 16; ++i) stopping.add_stop_strings(std::string(256, 'x'));
  for (int i = 0; i < 64; ++i) stopping.add_stop_token_ids(99);
  stopping.set_time_limit_ms(0xffffffff);
  request.mutable_output()->set_logprobs(20);
  request.mutable_output()->set_prompt_logprobs(20);
  request.set_n(8);
  request.set_priority(-100);
  request.set_request_id(std::string(128, 'x'));
  request.set_experiment_key(std::string(256, 'x'));
  request.set_cache_salt(std::string(256, 'x'));
  request.set_truncate_prompt_tokens(0xffffffff);
  AddWindow(request, 2, 16);
  AddWindow(request, 3, 64);  // the context
  const auto answer = server.Generate(request);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
}

// Sends bytes that no generated stub would.
grpc::Status SendRaw(FakeServer& server, const std::string& method, const std::string& bytes) {
  grpc::GenericStub stub(server.channel());
  grpc::ClientContext context;
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/skipstone.v1.Inference/" + method, grpc::StubOptions(), &request,
                 &response, [&](grpc::Status status) { done.set_value(std::move(status)); });
  return done.get_future().get();
}

TEST(InvalidArgumentTest, NamesBytesThatDoNotParse) {
  FakeServer server;
  const std::string not_utf8 = std::string("\x12\x02\xff\xfe", 4);  // text = 2
  const std::string cut_short = std::string("\x12\x40x", 3);
  for (const std::string method : {"Generate", "GenerateStream", "Tokenize"}) {
    for (const std::string& bytes : {not_utf8, cut_short}) {
      // The first field of TokenizeRequest is its text.
      const std::string sent = (method == "Tokenize" ? "\x0a" : "\x12") + bytes.substr(1);
      const grpc::Status status = SendRaw(server, method, sent);
      EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
      EXPECT_THAT(status.error_message(), HasSubstr("UTF-8")) << method;
    }
  }
  EXPECT_EQ(SendRaw(server, "Score", "\x0a\x02\xff\xfe").error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(InvalidArgumentTest, AScoreIsBoundByRangesAndPolicy) {
  FakeServer server({.yaml = "policy: {max_logprobs: 5, max_priority: 2}"});
  const auto error = [&](int priority, uint32_t top) {
    v1::ScoreRequest request;
    request.add_items()->mutable_prompt()->set_text("5 6");
    request.set_priority(priority);
    request.set_top_logprobs(top);
    grpc::ClientContext context;
    v1::ScoreResponse response;
    const grpc::Status status = server.stub().Score(&context, request, &response);
    EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  };
  EXPECT_EQ(error(2, 5), "");
  EXPECT_EQ(error(-100, 0), "");
  EXPECT_THAT(error(101, 0), AllOf(HasSubstr("priority: 101"), HasSubstr("[-100, 100]")));
  EXPECT_THAT(error(-101, 0), AllOf(HasSubstr("priority: -101"), HasSubstr("[-100, 100]")));
  EXPECT_THAT(error(3, 0), AllOf(HasSubstr("priority: 3"), HasSubstr("limit is 2")));
  EXPECT_THAT(error(0, 6), AllOf(HasSubstr("top_logprobs: 6"), HasSubstr("limit is 5")));
  EXPECT_THAT(error(0, 21), AllOf(HasSubstr("top_logprobs: 21"), HasSubstr("limit is 20")));
}

TEST(InvalidArgumentTest, AScoreNamesTheItem) {
  FakeServer server;
  const auto error = [&](const std::function<void(v1::ScoreItem&)>& spoil) {
    v1::ScoreRequest request;
    request.add_items()->mutable_prompt()->set_text("5 6");
    spoil(*request.add_items());
    grpc::ClientContext context;
    v1::ScoreResponse response;
    const grpc::Status status = server.stub().Score(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  };
  const auto ids = [](int count) {
    v1::TokenIds ids;
    for (int i = 0; i < count; ++i) ids.add_ids(5);
    return ids;
  };
  EXPECT_THAT(error([](auto&) {}), StartsWith("items[1].prompt: text or token_ids"));
  EXPECT_THAT(error([&](auto& item) { *item.mutable_prompt()->mutable_token_ids() = ids(1); }),
              StartsWith("items[1].prompt: there is no token to score"));
  EXPECT_THAT(error([&](auto& item) {
                *item.mutable_prompt()->mutable_token_ids() = ids(2);
                item.mutable_continuation()->mutable_token_ids();
              }),
              StartsWith("items[1].continuation: there is no token to score"));
  EXPECT_THAT(error([&](auto& item) { *item.mutable_prompt()->mutable_token_ids() = ids(65); }),
              StartsWith("items[1]: prompt: 65 tokens, the limit is 64"));
}

TEST(InvalidArgumentTest, AScoreTakesNoCeiling) {
  FakeServer server;
  v1::ScoreRequest request;
  request.add_items()->mutable_prompt()->set_text("5 6");
  request.mutable_skip()->mutable_adaptive()->set_ceiling_spec("attn:3");
  grpc::ClientContext context;
  v1::ScoreResponse response;
  const grpc::Status status = server.stub().Score(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("skip.adaptive"));
}

TEST(InvalidArgumentTest, NamesATenantThatIsNoText) {
  FakeServer server({.yaml = "fair_share: metadata:x-tenant-bin"});
  const auto from = [&](const std::string& tenant) {
    return server
        .Generate(
            Prompt("5", 1),
            [&](grpc::ClientContext& context) { context.AddMetadata("x-tenant-bin", tenant); })
        .status;
  };
  EXPECT_TRUE(from(std::string(256, 't')).ok());
  EXPECT_EQ(from(std::string(257, 't')).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const grpc::Status status = from("a\xff\n");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("metadata x-tenant-bin"));
}

TEST(InvalidArgumentTest, TokenizeAndDetokenizeNameTheField) {
  FakeServer server;
  grpc::ClientContext context;
  v1::DetokenizeRequest ids;
  ids.add_ids(100);
  v1::DetokenizeResponse text;
  const grpc::Status status = server.stub().Detokenize(&context, ids, &text);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), AllOf(HasSubstr("ids: token id 100"), HasSubstr("100")));
  grpc::ClientContext empty;
  v1::TokenizeResponse tokens;
  EXPECT_EQ(server.stub().Tokenize(&empty, {}, &tokens).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(InvalidArgumentTest, AbortTakesSoManyIds) {
  FakeServer server;
  v1::AbortRequest request;
  for (int i = 0; i < 1024; ++i) request.add_request_ids("none");
  v1::AbortResponse response;
  grpc::ClientContext most;
  EXPECT_TRUE(server.stub().Abort(&most, request, &response).ok());
  EXPECT_EQ(response.aborted_size(), 0);
  request.add_request_ids("none");
  grpc::ClientContext more;
  const grpc::Status status = server.stub().Abort(&more, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), AllOf(HasSubstr("1025 ids"), HasSubstr("1024")));
}

// A refusal names field, size and limit, and is short.
void ExpectRefusal(const grpc::Status& status, const std::vector<std::string>& parts) {
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  for (const std::string& part : parts) EXPECT_THAT(status.error_message(), HasSubstr(part));
  EXPECT_LT(status.error_message().size(), 500u);
}

TEST(InvalidArgumentTest, NoFieldIsReadBeyondItsLimit) {
  FakeServer server({.eos_ids = {1}});
  const auto generate = [&](const std::function<void(v1::GenerateRequest&)>& spoil) {
    v1::GenerateRequest request = Prompt("5", 1);
    spoil(request);
    return server.Generate(request).status;
  };
  const std::string long_spec = "attn:" + std::string(2 << 20, '1');
  ExpectRefusal(generate([&](auto& r) { r.mutable_skip()->set_spec(long_spec); }),
                {"skip.spec: 2097157 bytes, the limit is 4096"});
  ExpectRefusal(generate([&](auto& r) {
                  r.mutable_skip()->set_level("full");
                  r.mutable_skip()->mutable_adaptive()->set_ceiling_spec(long_spec);
                }),
                {"skip.adaptive.ceiling_spec: 2097157 bytes, the limit is 4096"});
  ExpectRefusal(generate([](auto& r) {
                  for (int i = 0; i < 1000000; ++i) r.mutable_skip()->mutable_layers()->add_mlp(1);
                }),
                {"skip.layers.mlp: 1000000 layers are listed, the model has 4"});
  ExpectRefusal(generate([](auto& r) {
                  for (int i = 0; i < 5; ++i) AddWindow(r, 3, 16);
                }),
                {"skip.layers.windowed: 5 layers are listed, the model has 4"});
  std::string words;
  for (int i = 0; i < 1000000; ++i) words += " 7";
  ExpectRefusal(generate([&](auto& r) { r.set_text(words); }),
                {"text: 2000000 bytes are at least 64 tokens, the limit is 63 (context of 64 "
                 "tokens)"});
  ExpectRefusal(generate([&](auto& r) {
                  r.set_text(words);
                  r.set_truncate_prompt_tokens(64);
                }),
                {"text: 2000000 bytes", "the limit is 63"});
  EXPECT_TRUE(generate([&](auto& r) {
                r.set_text(words);
                r.set_truncate_prompt_tokens(63);
              }).ok());
  const auto chat = [](v1::GenerateRequest& r, int messages, const std::string& content) {
    for (int i = 0; i < messages; ++i) {
      v1::ChatMessage& message = *r.mutable_chat()->add_messages();
      message.set_role(i % 2 == 0 ? "user" : "assistant");
      message.set_content(content);
    }
  };
  ExpectRefusal(generate([&](auto& r) { chat(r, 101, ""); }),
                {"chat.messages: 101 messages, the limit is 63"});
  ExpectRefusal(generate([&](auto& r) { chat(r, 1, words); }), {"chat: 2000000 bytes", "63"});
  ExpectRefusal(generate([&](auto& r) { chat(r, 200001, ""); }),
                {"skipstone.v1.Chat", "more than 16384 messages and strings"});
}

TEST(InvalidArgumentTest, NoItemToScoreIsReadBeyondTheContext) {
  FakeServer server;
  std::string words;
  for (int i = 0; i < 1000000; ++i) words += " 7";
  const auto score = [&](const std::string& prompt, const std::string& continuation) {
    v1::ScoreRequest request;
    request.add_items()->mutable_prompt()->set_text("5 6");
    request.add_items()->mutable_prompt()->set_text(prompt);
    request.mutable_items(1)->mutable_continuation()->set_text(continuation);
    grpc::ClientContext context;
    v1::ScoreResponse response;
    return server.stub().Score(&context, request, &response);
  };
  ExpectRefusal(score(words, "7"), {"items[1].prompt.text: 2000000 bytes", "the limit is 64"});
  ExpectRefusal(score("7", words),
                {"items[1].prompt.text and continuation.text: 2000001 bytes", "the limit is 64"});
}

TEST(InvalidArgumentTest, TokenizeAndDetokenizeAreBounded) {
  FakeServer server;
  const auto tokenize = [&](const v1::TokenizeRequest& request) {
    grpc::ClientContext context;
    v1::TokenizeResponse response;
    return server.stub().Tokenize(&context, request, &response);
  };
  v1::TokenizeRequest text;
  text.set_text(std::string((1 << 20) + 1, ' '));
  ExpectRefusal(tokenize(text), {"text: 1048577 bytes, the limit is 1048576"});
  text.set_text(std::string(1 << 20, ' '));
  EXPECT_TRUE(tokenize(text).ok());
  text.mutable_chat()->add_messages()->set_content(std::string(2 << 20, ' '));
  ExpectRefusal(tokenize(text), {"chat: 2097152 bytes, the limit is 1048576"});
  v1::DetokenizeRequest ids;
  for (int i = 0; i <= 1 << 20; ++i) ids.add_ids(1);
  grpc::ClientContext context;
  v1::DetokenizeResponse response;
  ExpectRefusal(server.stub().Detokenize(&context, ids, &response),
                {"ids: 1048577 ids, the limit is 1048576"});
}

TEST(InvalidArgumentTest, RequestsWithoutFieldsAreNotRead) {
  FakeServer server;
  for (const std::string method : {"GetModel", "GetLoad"}) {
    ExpectRefusal(SendRaw(server, method, std::string(100000, 'x')),
                  {"100000 bytes, the limit is 4096"});
    EXPECT_TRUE(SendRaw(server, method, "").ok());
  }
}

// Two bytes each, and a hundred and more of memory.
TEST(InvalidArgumentTest, MoreMessagesThanAnyRequestHasAreNotParsed) {
  FakeServer server;
  const auto repeated = [](const std::string& field, int times) {
    std::string bytes;
    for (int i = 0; i < times; ++i) bytes += field;
    return bytes;
  };
  const std::string empty_message("\x12\x00", 2);  // ScoreRequest.items
  ExpectRefusal(SendRaw(server, "Score", repeated(empty_message, 1000000)),
                {"skipstone.v1.ScoreRequest.items", "16384"});
  const std::string unknown("\xf8\x7f\x01", 3);
  ExpectRefusal(SendRaw(server, "Generate", repeated(unknown, 1000000)), {"unknown", "16384"});
  ExpectRefusal(SendRaw(server, "Abort", repeated(std::string("\x0a\x00", 2), 1000000)),
                {"skipstone.v1.AbortRequest.request_ids", "16384"});
}

// Long values must not make a message that no client accepts.
TEST(InvalidArgumentTest, KeepsMessagesShort) {
  FakeServer server;
  v1::GenerateRequest request = Prompt("5", 1);
  for (const bool spec : {false, true}) {
    const std::string lengthy(100000, 'q');
    spec ? request.mutable_skip()->set_spec(lengthy) : request.mutable_skip()->set_level(lengthy);
    const grpc::Status status = server.Generate(request).status;
    EXPECT_EQ(status.error_code(),
              spec ? grpc::StatusCode::INVALID_ARGUMENT : grpc::StatusCode::NOT_FOUND)
        << status.error_message();
    EXPECT_LT(status.error_message().size(), 2000u);
  }
}

}  // namespace
}  // namespace skipstone::server
