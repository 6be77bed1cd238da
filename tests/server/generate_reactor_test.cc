// Generate and GenerateStream: order of events, texts, and every way to end.
#include "server/generate_reactor.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kVocab = 100;

// What the fake draws after `prompt` under `skip` of its 4 layers.
std::vector<int32_t> Expected(std::vector<int32_t> tokens, int count,
                              const SkipSet& skip = SkipSet(4)) {
  const size_t prompt = tokens.size();
  for (int i = 0; i < count; ++i) tokens.push_back(FakeToken(tokens, skip, kVocab));
  return {tokens.begin() + prompt, tokens.end()};
}

std::string TextOf(const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) text += absl::StrFormat(" %d", id);
  return text;
}

std::vector<int32_t> IdsOf(const v1::Delta& delta) {
  std::vector<int32_t> ids;
  for (const v1::Token& token : delta.tokens()) ids.push_back(static_cast<int32_t>(token.id()));
  return ids;
}

const std::vector<int32_t> kPrompt = {5, 6, 7};

v1::GenerateRequest WithTokens(uint32_t max_tokens) {
  v1::GenerateRequest request = Prompt("5 6 7", max_tokens);
  request.mutable_output()->set_token_ids(true);
  return request;
}

v1::GenerateOutput OneOutput(FakeServer& server, const v1::GenerateRequest& request) {
  const auto answer = server.Generate(request);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.response.outputs_size(), 1);
  return answer.response.outputs_size() == 1 ? answer.response.outputs(0) : v1::GenerateOutput();
}

// Accepted, then deltas, and for each output one Finished after its deltas.
void CheckOrder(const std::vector<v1::GenerateEvent>& events, size_t outputs) {
  ASSERT_FALSE(events.empty());
  std::set<uint32_t> finished;
  for (size_t i = 0; i < events.size(); ++i) {
    ASSERT_EQ(events[i].has_accepted(), i == 0) << "event " << i;
    if (events[i].has_delta()) {
      EXPECT_FALSE(finished.contains(events[i].delta().index())) << "event " << i;
    }
    if (events[i].has_finished()) {
      EXPECT_TRUE(finished.insert(events[i].finished().index()).second);
    }
  }
  EXPECT_EQ(finished.size(), outputs);
  EXPECT_TRUE(events.back().has_finished());
}

TEST(GenerateReactorTest, StreamsInOrderWhatTheUnaryCallAnswers) {
  FakeServer server;
  v1::GenerateRequest request = WithTokens(12);
  request.set_n(3);
  request.mutable_sampling()->set_seed(77);
  request.mutable_output()->set_logprobs(1);
  request.mutable_output()->set_echo(true);
  Streaming stream(server.stub(), request);
  ASSERT_TRUE(stream.ReadAll().ok());
  CheckOrder(stream.events(), 3);
  const auto unary = server.Generate(request);
  ASSERT_TRUE(unary.status.ok());
  ASSERT_EQ(unary.response.outputs_size(), 3);
  for (uint32_t i = 0; i < 3; ++i) {
    const v1::GenerateOutput& output = unary.response.outputs(static_cast<int>(i));
    EXPECT_EQ(output.delta().index(), i);
    EXPECT_EQ(output.finished().index(), i);
    EXPECT_EQ(stream.Text(i), output.delta().text());
    EXPECT_EQ(output.delta().text(), "5 6 7" + TextOf(Expected(kPrompt, 12)));
    EXPECT_EQ(IdsOf(output.delta()), Expected(kPrompt, 12));
  }
  const v1::Accepted& accepted = unary.response.accepted();
  EXPECT_EQ(accepted.prompt_tokens(), 3u);
  EXPECT_EQ(accepted.seed(), 77u);
  EXPECT_EQ(accepted.applied_skip().level(), "full");
  EXPECT_EQ(accepted.applied_skip().spec(), "none");
  EXPECT_NE(accepted.applied_skip().skip_id(), 0u);
  EXPECT_EQ(accepted.request_id(), unary.initial.at("skipstone-request-id"));
  EXPECT_EQ(unary.trailing.at("skipstone-level"), "full");
}

TEST(GenerateReactorTest, DrawsASeedAndAnIdWhereNoneIsGiven) {
  FakeServer server;
  std::set<uint64_t> seeds;
  std::set<std::string> ids;
  for (int i = 0; i < 10; ++i) {
    const auto answer = server.Generate(Prompt("5", 1));
    seeds.insert(answer.response.accepted().seed());
    ids.insert(answer.response.accepted().request_id());
  }
  EXPECT_EQ(seeds.size(), 10u);
  EXPECT_EQ(ids.size(), 10u);
  v1::GenerateRequest request = Prompt("5", 1);
  request.mutable_sampling()->set_seed(0);
  request.set_request_id("mine");
  const auto answer = server.Generate(request);
  EXPECT_EQ(answer.response.accepted().seed(), 0u) << "0 is a seed like any other";
  EXPECT_EQ(answer.response.accepted().request_id(), "mine");
}

TEST(GenerateReactorTest, TokensAreSentWhereTheyAreWanted) {
  FakeServer server;
  EXPECT_EQ(OneOutput(server, Prompt("5 6 7", 4)).delta().tokens_size(), 0) << "text alone";
  const v1::Delta ids = OneOutput(server, WithTokens(4)).delta();
  ASSERT_EQ(ids.tokens_size(), 4);
  EXPECT_FALSE(ids.tokens(0).has_logprob());
  EXPECT_EQ(ids.tokens(0).text(), TextOf(Expected(kPrompt, 1)));
  v1::GenerateRequest request = Prompt("5 6 7", 4);
  request.mutable_output()->set_logprobs(1);
  const v1::Delta logprobs = OneOutput(server, request).delta();
  ASSERT_EQ(logprobs.tokens_size(), 4) << "the default with logprobs";
  std::vector<int32_t> context = kPrompt;
  for (const v1::Token& token : logprobs.tokens()) {
    const auto id = static_cast<int32_t>(token.id());
    EXPECT_EQ(token.logprob(), FakeLogprob(context, SkipSet(4), id));
    ASSERT_EQ(token.top_size(), 1);
    EXPECT_EQ(token.top(0).id(), token.id());
    EXPECT_EQ(token.top(0).logprob(), token.logprob());
    EXPECT_EQ(token.top(0).text(), token.text());
    context.push_back(id);
  }
  request.mutable_output()->set_token_ids(false);
  EXPECT_EQ(OneOutput(server, request).delta().tokens_size(), 0);
}

TEST(GenerateReactorTest, PromptLogprobsComeBeforeTheFirstToken) {
  FakeServer server;
  v1::GenerateRequest request = WithTokens(3);
  request.mutable_output()->set_prompt_logprobs(0);
  Streaming stream(server.stub(), request);
  ASSERT_TRUE(stream.ReadAll().ok());
  CheckOrder(stream.events(), 1);
  std::vector<v1::Token> prompt;
  int drawn = 0;
  for (const v1::GenerateEvent& event : stream.events()) {
    const auto& tokens = event.delta().prompt_tokens();
    if (!tokens.empty()) {
      EXPECT_EQ(drawn, 0);
    }
    prompt.insert(prompt.end(), tokens.begin(), tokens.end());
    drawn += event.delta().tokens_size();
  }
  ASSERT_EQ(prompt.size(), 3u);
  EXPECT_FALSE(prompt[0].has_logprob()) << "it follows nothing";
  for (int i = 0; i < 3; ++i) EXPECT_EQ(static_cast<int32_t>(prompt[i].id()), kPrompt[i]);
  EXPECT_EQ(prompt[1].logprob(), FakeLogprob({{5}}, SkipSet(4), 6));
  EXPECT_EQ(prompt[2].logprob(), FakeLogprob({{5, 6}}, SkipSet(4), 7));
  // With echo, logprobs are of both.
  request.mutable_output()->clear_prompt_logprobs();
  request.mutable_output()->set_echo(true);
  request.mutable_output()->set_logprobs(0);
  EXPECT_EQ(OneOutput(server, request).delta().prompt_tokens_size(), 3);
}

TEST(GenerateReactorTest, TruncationKeepsTheLastPromptTokens) {
  FakeServer server;
  v1::GenerateRequest request = WithTokens(3);
  request.set_truncate_prompt_tokens(2);
  request.mutable_output()->set_echo(true);
  const v1::GenerateOutput output = OneOutput(server, request);
  EXPECT_EQ(output.finished().usage().prompt_tokens(), 2u);
  EXPECT_EQ(IdsOf(output.delta()), Expected({6, 7}, 3));
  EXPECT_EQ(output.delta().text(), "6 7" + TextOf(Expected({6, 7}, 3))) << "echo of what is left";
}

TEST(GenerateReactorTest, TextIdsAndSkipReachTheDevice) {
  FakeServer server;
  v1::GenerateRequest request = WithTokens(5);
  for (const int32_t id : kPrompt) request.mutable_token_ids()->add_ids(id);
  EXPECT_EQ(IdsOf(OneOutput(server, request).delta()), Expected(kPrompt, 5));
  SkipSet skip(4);
  skip.SkipAttention(1);
  request.mutable_skip()->set_spec("attn:1");
  EXPECT_EQ(IdsOf(OneOutput(server, request).delta()), Expected(kPrompt, 5, skip));
}

TEST(GenerateReactorTest, EndsAtMaxTokens) {
  FakeServer server;
  const v1::Finished finished = OneOutput(server, WithTokens(4)).finished();
  EXPECT_EQ(finished.reason(), v1::MAX_TOKENS);
  EXPECT_FALSE(finished.has_matched_stop());
  EXPECT_EQ(finished.usage().prompt_tokens(), 3u);
  EXPECT_EQ(finished.usage().completion_tokens(), 4u);
  EXPECT_GE(finished.timing().e2e_ms(), finished.timing().ttft_ms());
  EXPECT_GT(finished.timing().ttft_ms(), 0);
}

TEST(GenerateReactorTest, EndsWhenTheContextIsFull) {
  FakeServer server({.max_context = 20});
  v1::GenerateRequest request = WithTokens(1);
  request.mutable_stopping()->clear_max_tokens();
  const v1::Finished finished = OneOutput(server, request).finished();
  EXPECT_EQ(finished.reason(), v1::CONTEXT_FULL);
  EXPECT_EQ(finished.usage().completion_tokens(), 17u);
  request.mutable_stopping()->set_max_tokens(100);
  EXPECT_EQ(OneOutput(server, request).finished().reason(), v1::CONTEXT_FULL);
  FakeServer small({.num_pages = 20});  // 20 tokens in 4 layers
  request.mutable_stopping()->clear_max_tokens();
  const v1::Finished full = OneOutput(small, request).finished();
  EXPECT_EQ(full.reason(), v1::CONTEXT_FULL);
  EXPECT_EQ(full.kv_pages_used(), 20u);
  EXPECT_EQ(full.usage().completion_tokens(), 18u);
}

TEST(GenerateReactorTest, EndsAtAStopToken) {
  FakeServer server;
  const std::vector<int32_t> drawn = Expected(kPrompt, 20);
  const int32_t stop = drawn[6];
  const auto first = std::find(drawn.begin(), drawn.end(), stop) - drawn.begin();
  v1::GenerateRequest request = WithTokens(20);
  request.mutable_stopping()->add_stop_token_ids(stop);
  const v1::GenerateOutput output = OneOutput(server, request);
  EXPECT_EQ(output.finished().reason(), v1::STOP);
  EXPECT_EQ(output.finished().matched_stop().token_id(), static_cast<uint32_t>(stop));
  EXPECT_EQ(output.finished().usage().completion_tokens(), first + 1);
  EXPECT_EQ(output.delta().text(), TextOf({drawn.begin(), drawn.begin() + first}));
  request.mutable_stopping()->set_include_stop(true);
  EXPECT_EQ(OneOutput(server, request).delta().text(),
            TextOf({drawn.begin(), drawn.begin() + first + 1}));
}

TEST(GenerateReactorTest, EndsAtTheEndTokenUnlessItIsIgnored) {
  const std::vector<int32_t> drawn = Expected(kPrompt, 20);
  FakeServer server({.eos_ids = {drawn[3], drawn[9]}});
  const v1::Finished finished = OneOutput(server, WithTokens(20)).finished();
  EXPECT_EQ(finished.reason(), v1::STOP);
  EXPECT_LE(finished.usage().completion_tokens(), 4u);
  v1::GenerateRequest request = WithTokens(20);
  request.mutable_stopping()->set_ignore_eos(true);
  const v1::GenerateOutput output = OneOutput(server, request);
  EXPECT_EQ(output.finished().reason(), v1::MAX_TOKENS);
  EXPECT_EQ(IdsOf(output.delta()), drawn);
}

TEST(GenerateReactorTest, EndsAtAStopString) {
  FakeServer server;
  const std::string whole = TextOf(Expected(kPrompt, 20));
  const std::string stop_string = whole.substr(whole.find(' ', 12), 5);
  ASSERT_FALSE(stop_string.empty());
  v1::GenerateRequest request = WithTokens(20);
  request.mutable_stopping()->add_stop_strings("never");
  request.mutable_stopping()->add_stop_strings(stop_string);
  const std::string before = whole.substr(0, whole.find(stop_string));
  for (const bool include : {false, true}) {
    request.mutable_stopping()->set_include_stop(include);
    const v1::GenerateOutput output = OneOutput(server, request);
    EXPECT_EQ(output.finished().reason(), v1::STOP_STRING);
    EXPECT_EQ(output.finished().matched_stop().text(), stop_string);
    EXPECT_EQ(output.delta().text(), before + (include ? stop_string : ""));
    EXPECT_LT(output.finished().usage().completion_tokens(), 20u);
    Streaming stream(server.stub(), request);
    ASSERT_TRUE(stream.ReadAll().ok());
    EXPECT_EQ(stream.Text(), output.delta().text());
  }
}

TEST(GenerateReactorTest, EndsAtItsTimeLimitWithWhatItHas) {
  FakeServer server(Endless());
  v1::GenerateRequest request = WithTokens(50000);
  request.mutable_stopping()->set_time_limit_ms(100);
  const v1::GenerateOutput output = OneOutput(server, request);
  EXPECT_EQ(output.finished().reason(), v1::TIME_LIMIT);
  const auto count = output.finished().usage().completion_tokens();
  EXPECT_GT(count, 0u);
  EXPECT_EQ(output.delta().tokens_size(), static_cast<int>(count));
  EXPECT_GE(output.finished().timing().e2e_ms(), 100);
  EXPECT_EQ(server.Outcomes("time_limit"), 1);
}

TEST(GenerateReactorTest, EndsAbortedWithWhatItHas) {
  FakeServer server(Endless());
  v1::GenerateRequest request = WithTokens(50000);
  request.set_request_id("long");
  request.set_n(2);
  Streaming stream(server.stub(), request);
  stream.ReadTokens(5);
  grpc::ClientContext context;
  v1::AbortRequest abort;
  abort.add_request_ids("long");
  abort.add_request_ids("other");
  v1::AbortResponse aborted;
  ASSERT_TRUE(server.stub().Abort(&context, abort, &aborted).ok());
  EXPECT_THAT(aborted.aborted(), ElementsAre("long"));
  EXPECT_TRUE(stream.ReadAll().ok());
  CheckOrder(stream.events(), 2);
  uint32_t tokens = 0;
  for (const v1::Finished& finished : stream.Finished()) {
    EXPECT_EQ(finished.reason(), v1::ABORTED);
    tokens += finished.usage().completion_tokens();
  }
  EXPECT_EQ(tokens, static_cast<uint32_t>(stream.tokens()));
  EXPECT_EQ(server.Outcomes("aborted"), 1);
  EXPECT_EQ(server.Load().kv_pages_used(), 0u);
}

TEST(GenerateReactorTest, AThousandOpenStreamsEachGetTheirEnd) {
  constexpr int kStreams = 1000;
  constexpr int kRunning = 64;  // at most so many are in the step that is held
  FakeServer server({.num_pages = 20000,
                     .max_batch_tokens = 256,
                     .max_sequences = kRunning,
                     .max_queue = kStreams});
  server.gate().Close();
  std::vector<std::unique_ptr<Streaming>> streams;
  for (int i = 0; i < kStreams; ++i) {
    streams.push_back(std::make_unique<Streaming>(
        server.stub(), Prompt(absl::StrFormat("%d %d", i % 100, i / 100), 5)));
  }
  ASSERT_TRUE(Eventually([&] {
    const v1::GetLoadResponse load = server.Load();
    return load.waiting() >= kStreams - kRunning;
  }));
  server.gate().Open();
  for (int i = 0; i < kStreams; ++i) {
    ASSERT_TRUE(streams[i]->ReadAll().ok()) << i;
    CheckOrder(streams[i]->events(), 1);
    EXPECT_EQ(streams[i]->Text(), TextOf(Expected({i % 100, i / 100}, 5)));
  }
  EXPECT_EQ(server.Outcomes("ok"), kStreams);
}

TEST(GenerateReactorTest, ATraceIsReturnedHoweverTheCallEnds) {
  const std::string parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const auto with = [](const std::string& text) {
    return [text](grpc::ClientContext& context) { context.AddMetadata("traceparent", text); };
  };
  FakeServer server;
  EXPECT_EQ(server.Generate(WithTokens(2), with(parent)).trailing.at("traceparent"), parent);
  const auto refused = server.Generate(WithTokens(0), with(parent));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(refused.trailing.at("traceparent"), parent);
  Streaming stream(server.stub(), WithTokens(2), with(parent));
  EXPECT_TRUE(stream.ReadAll().ok());
  EXPECT_EQ(CopyOf(stream.context().GetServerTrailingMetadata()).at("traceparent"), parent);
  for (const char* none :
       {"", "00-xyz", "00-00000000000000000000000000000000-b7ad6b7169203331-01"}) {
    EXPECT_FALSE(server.Generate(WithTokens(2), with(none)).trailing.contains("traceparent"));
  }
}

}  // namespace
}  // namespace skipstone::server
