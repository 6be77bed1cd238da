// The service over real RPCs, before a fake device: it answers what our own service does.
#include "server/vllm/vllm_service.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/vllm/vllm_dialect.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"
#include "tests/support/test_data.h"

namespace skipstone::server {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::SizeIs;

constexpr char kLevels[] = "levels: {full: none, half: 'attn:last=50%'}\n";

vllm_api::GenerateRequest Ask(uint32_t max_tokens, bool stream = false) {
  vllm_api::GenerateRequest request;
  for (const uint32_t id : {5, 6, 7}) request.mutable_tokenized()->add_input_ids(id);
  request.mutable_sampling_params()->set_max_tokens(max_tokens);
  request.mutable_sampling_params()->set_temperature(0);
  request.set_stream(stream);
  return request;
}

class VllmServiceTest : public testing::Test {
 protected:
  explicit VllmServiceTest(FakeServerOptions options = {.yaml = kLevels})
      : server_(std::move(options)), stub_(VllmStub::NewStub(server_.channel())) {}

  struct Answer {
    grpc::Status status;
    std::vector<vllm_api::GenerateStreamChunk> chunks;
    std::vector<vllm_api::GenerateComplete> complete;
    std::map<std::string, std::string> trailing;

    std::vector<uint32_t> Streamed(uint32_t index = 0) const {
      std::vector<uint32_t> ids;
      for (const auto& chunk : chunks) {
        if (chunk.index() != index) continue;
        ids.insert(ids.end(), chunk.token_ids().begin(), chunk.token_ids().end());
      }
      return ids;
    }
  };

  Answer Generate(const vllm_api::GenerateRequest& request,
                  const std::map<std::string, std::string>& metadata = {}) {
    return Generate(*stub_, request, metadata);
  }
  static Answer Generate(VllmStub::Stub& stub, const vllm_api::GenerateRequest& request,
                         const std::map<std::string, std::string>& metadata = {}) {
    grpc::ClientContext context;
    for (const auto& [key, value] : metadata) context.AddMetadata(key, value);
    const auto reader = stub.Generate(&context, request);
    Answer answer;
    vllm_api::GenerateResponse response;
    while (reader->Read(&response)) {
      if (response.has_chunk()) answer.chunks.push_back(response.chunk());
      if (response.has_complete()) answer.complete.push_back(response.complete());
    }
    answer.status = reader->Finish();
    answer.trailing = CopyOf(context.GetServerTrailingMetadata());
    return answer;
  }

  // What our own service draws.
  std::vector<uint32_t> OurIds(uint32_t max_tokens, const std::string& level = "") {
    v1::GenerateRequest request;
    for (const uint32_t id : {5, 6, 7}) request.mutable_token_ids()->add_ids(id);
    request.mutable_stopping()->set_max_tokens(max_tokens);
    request.mutable_sampling()->set_temperature(0);
    request.mutable_output()->set_token_ids(true);
    if (!level.empty()) request.mutable_skip()->set_level(level);
    const auto answer = server_.Generate(request);
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    std::vector<uint32_t> ids;
    for (const v1::Token& token : answer.response.outputs(0).delta().tokens()) {
      ids.push_back(token.id());
    }
    return ids;
  }

  template <class Request, class Response>
  Response Call(grpc::Status (VllmStub::Stub::*method)(grpc::ClientContext*, const Request&,
                                                       Response*),
                const Request& request = {}) {
    grpc::ClientContext context;
    Response response;
    const grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  FakeServer server_;
  std::unique_ptr<VllmStub::Stub> stub_;
};

TEST_F(VllmServiceTest, AnswersAtOnceWhatOurServiceDoes) {
  const Answer answer = Generate(Ask(9));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_THAT(answer.chunks, SizeIs(0));
  ASSERT_THAT(answer.complete, SizeIs(1));
  const vllm_api::GenerateComplete& complete = answer.complete[0];
  EXPECT_THAT(complete.output_ids(), ElementsAreArray(OurIds(9)));
  EXPECT_EQ(complete.finish_reason(), "length");
  EXPECT_EQ(complete.prompt_tokens(), 3);
  EXPECT_EQ(complete.completion_tokens(), 9);
}

TEST_F(VllmServiceTest, StreamsTheSameInChunks) {
  vllm_api::GenerateRequest request = Ask(9, /*stream=*/true);
  request.mutable_sampling_params()->set_n(2);
  request.mutable_sampling_params()->set_temperature(1);
  request.mutable_sampling_params()->set_seed(7);
  const Answer streamed = Generate(request);
  request.set_stream(false);
  const Answer whole = Generate(request);
  ASSERT_THAT(streamed.complete, SizeIs(2));
  ASSERT_THAT(whole.complete, SizeIs(2));
  for (const auto& complete : whole.complete) {
    EXPECT_THAT(streamed.Streamed(complete.index()), ElementsAreArray(complete.output_ids()));
  }
  for (const auto& chunk : streamed.chunks) {
    EXPECT_EQ(chunk.completion_tokens(), static_cast<uint32_t>(chunk.token_ids_size()));
    EXPECT_EQ(chunk.prompt_tokens(), 3);
  }
  for (const auto& complete : streamed.complete) {
    EXPECT_EQ(complete.output_ids_size(), 0);
    EXPECT_EQ(complete.completion_tokens(), 9);
  }
}

TEST_F(VllmServiceTest, StopsAreAmongTheIdsAndNamed) {
  const std::vector<uint32_t> ids = OurIds(9);
  vllm_api::GenerateRequest request = Ask(9);
  request.mutable_sampling_params()->add_stop_token_ids(ids[4]);
  const size_t first = std::find(ids.begin(), ids.end(), ids[4]) - ids.begin();
  const std::vector<uint32_t> until(ids.begin(), ids.begin() + first + 1);
  Answer answer = Generate(request);
  ASSERT_THAT(answer.complete, SizeIs(1));
  EXPECT_EQ(answer.complete[0].finish_reason(), "stop");
  EXPECT_EQ(answer.complete[0].matched_token_id(), ids[4]);
  EXPECT_THAT(answer.complete[0].output_ids(), ElementsAreArray(until));
  request.mutable_sampling_params()->clear_stop_token_ids();
  request.mutable_sampling_params()->add_stop(" " + std::to_string(ids[4]));
  answer = Generate(request);
  ASSERT_THAT(answer.complete, SizeIs(1));
  EXPECT_EQ(answer.complete[0].finish_reason(), "stop");
  EXPECT_EQ(answer.complete[0].matched_stop_str(), " " + std::to_string(ids[4]));
}

TEST_F(VllmServiceTest, LogprobsStandBesideTheirTokens) {
  vllm_api::GenerateRequest request = Ask(4);
  request.mutable_sampling_params()->set_logprobs(1);
  request.mutable_sampling_params()->set_prompt_logprobs(1);
  const Answer answer = Generate(request);
  ASSERT_THAT(answer.complete, SizeIs(1)) << answer.status.error_message();
  const vllm_api::OutputLogProbs& out = answer.complete[0].output_logprobs();
  EXPECT_THAT(out.token_ids(), ElementsAreArray(answer.complete[0].output_ids()));
  ASSERT_EQ(out.top_logprobs_size(), 4);
  EXPECT_EQ(out.top_logprobs(0).token_ids_size(), 1);
  EXPECT_EQ(out.token_logprobs_size(), 4);
  const vllm_api::InputLogProbs& in = answer.complete[0].input_logprobs();
  EXPECT_THAT(in.token_ids(), ElementsAre(5, 6, 7));
  EXPECT_FALSE(in.token_logprobs(0).has_value()) << "nothing stands before it";
  EXPECT_TRUE(in.token_logprobs(1).has_value());
  request.set_stream(true);
  const Answer streamed = Generate(request);
  EXPECT_THAT(streamed.Streamed(), ElementsAreArray(answer.complete[0].output_ids()));
  EXPECT_THAT(streamed.chunks.at(0).input_logprobs().token_ids(), ElementsAre(5, 6, 7));
}

TEST_F(VllmServiceTest, TheIdsFieldsWinOverTheMetadatas) {
  vllm_api::GenerateRequest request = Ask(6);
  request.set_request_id("level=half;1");
  Answer answer = Generate(request, {{"x-skipstone-level", "full"}});
  EXPECT_EQ(answer.trailing.at("skipstone-level"), "half");
  EXPECT_THAT(answer.complete.at(0).output_ids(), ElementsAreArray(OurIds(6, "half")));
  request.set_request_id("2");
  answer = Generate(request, {{"x-skipstone-level", "half"}});
  EXPECT_EQ(answer.trailing.at("skipstone-level"), "half");
  answer = Generate(request, {{"x-skipstone-skip", "attn:3"}});
  EXPECT_EQ(answer.trailing.at("skipstone-level"), "custom");
  request.set_request_id("skip=attn:3;level=half;3");
  EXPECT_THAT(Generate(request).status.error_message(), HasSubstr("one is wanted"));
  request.set_request_id("priority=high;4");
  EXPECT_THAT(Generate(request).status.error_message(), HasSubstr("'high' is no whole number"));
  request.set_request_id("priority=1;5");
  EXPECT_THAT(Generate(request).status.error_message(), HasSubstr("priority"))
      << "the policy holds here, too";
}

TEST_F(VllmServiceTest, RefusalsKeepTheirWords) {
  vllm_api::GenerateRequest request = Ask(4);
  request.set_request_id("level=nope;1");
  Answer answer = Generate(request);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(answer.status.error_message(), HasSubstr("the levels are: full, half"));
  request = Ask(0);
  EXPECT_EQ(Generate(request).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request = Ask(4);
  request.mutable_sampling_params()->set_json_object(true);
  EXPECT_THAT(Generate(request).status.error_message(), HasSubstr("sampling_params.json_object"));
}

TEST_F(VllmServiceTest, TellsWhatItServes) {
  const auto model = Call(&VllmStub::Stub::GetModelInfo);
  EXPECT_EQ(model.served_model_name(), "fake");
  EXPECT_EQ(model.max_context_length(), 64);
  EXPECT_EQ(model.vocab_size(), 100);
  EXPECT_EQ(model.tokenizer_path(), "/skipstone/0000000000005eed");
  EXPECT_TRUE(model.is_generation());
  const auto info = Call(&VllmStub::Stub::GetServerInfo);
  EXPECT_EQ(info.block_size(), 4);
  EXPECT_EQ(info.max_num_seqs(), 8);
  EXPECT_EQ(info.data_parallel_size(), 1);
}

class LoadTest : public VllmServiceTest {
 protected:
  LoadTest() : VllmServiceTest(Endless(kLevels)) {}
};

TEST_F(LoadTest, IsOursInTokens) {
  Streaming running(server_.stub(), Prompt("5 6 7 8 9", 50000));
  ASSERT_TRUE(running.Read());
  server_.gate().CloseAndWait();
  const v1::GetLoadResponse ours = server_.Load();
  const auto load = Call(&VllmStub::Stub::GetLoads);
  ASSERT_EQ(load.loads_size(), 1);
  EXPECT_EQ(load.loads(0).num_running_reqs(), 1);
  EXPECT_EQ(load.loads(0).max_total_num_tokens(), 60000) << "four layers, pages of four";
  EXPECT_GT(ours.kv_pages_used(), 0);
  EXPECT_EQ(load.loads(0).num_used_tokens(), ours.kv_pages_used());
  EXPECT_NEAR(load.loads(0).token_usage(), 1.0 * ours.kv_pages_used() / 60000, 1e-9);
  server_.gate().Open();
  running.Cancel();
}

TEST_F(VllmServiceTest, HealthFollowsTheDrain) {
  EXPECT_TRUE(Call(&VllmStub::Stub::HealthCheck).healthy());
  server_.server().AnnounceDrain();
  const auto leaving = Call(&VllmStub::Stub::HealthCheck);
  EXPECT_FALSE(leaving.healthy());
  EXPECT_THAT(leaving.message(), HasSubstr("leaving"));
}

TEST_F(VllmServiceTest, WithoutFilesThereIsNoTokenizer) {
  grpc::ClientContext context;
  const auto reader = stub_->GetTokenizer(&context, {});
  smg::grpc::common::GetTokenizerChunk chunk;
  EXPECT_FALSE(reader->Read(&chunk));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

class TokenizerTest : public VllmServiceTest {
 protected:
  static std::string Bytes() {
    std::string bytes;
    for (int i = 0; i < 300000; ++i) bytes += static_cast<char>(i % 251);
    return bytes;
  }
  TokenizerTest() : VllmServiceTest({.yaml = kLevels, .tokenizer_archive = Bytes()}) {}
};

TEST_F(TokenizerTest, ComesInPartsWithItsHashInTheLast) {
  grpc::ClientContext context;
  const auto reader = stub_->GetTokenizer(&context, {});
  smg::grpc::common::GetTokenizerChunk chunk;
  std::string bytes;
  std::vector<std::string> hashes;
  while (reader->Read(&chunk)) {
    bytes += chunk.data();
    hashes.push_back(chunk.sha256());
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(bytes, Bytes());
  EXPECT_THAT(hashes, ElementsAre("", "", "", "", "hash")) << "64 KiB each";
}

TEST_F(TokenizerTest, AReaderMayGoAtAnyTime) {
  for (int parts = 0; parts < 4; ++parts) {
    grpc::ClientContext context;
    const auto reader = stub_->GetTokenizer(&context, {});
    smg::grpc::common::GetTokenizerChunk chunk;
    for (int i = 0; i < parts; ++i) ASSERT_TRUE(reader->Read(&chunk));
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
}

class KeyedVllmServiceTest : public VllmServiceTest {
 protected:
  KeyedVllmServiceTest()
      : VllmServiceTest({.yaml = std::string(kLevels) + "keys: [{tenant: a, sha256: '" +
                                 std::string(64, '0') + "'}]",
                         .tokenizer_archive = "zip"}) {}
};

TEST_F(KeyedVllmServiceTest, AllButHealthWantAKey) {
  EXPECT_TRUE(Call(&VllmStub::Stub::HealthCheck).healthy());
  constexpr auto kRefused = grpc::StatusCode::UNAUTHENTICATED;
  EXPECT_EQ(Generate(Ask(1)).status.error_code(), kRefused);
  grpc::ClientContext contexts[5];
  vllm_api::GetModelInfoResponse model;
  EXPECT_EQ(stub_->GetModelInfo(&contexts[0], {}, &model).error_code(), kRefused);
  vllm_api::GetServerInfoResponse info;
  EXPECT_EQ(stub_->GetServerInfo(&contexts[1], {}, &info).error_code(), kRefused);
  vllm_api::GetLoadsResponse loads;
  EXPECT_EQ(stub_->GetLoads(&contexts[2], {}, &loads).error_code(), kRefused);
  vllm_api::AbortResponse aborted;
  EXPECT_EQ(stub_->Abort(&contexts[3], {}, &aborted).error_code(), kRefused);
  EXPECT_EQ(stub_->GetTokenizer(&contexts[4], {})->Finish().error_code(), kRefused);
}

class LongAnswerTest : public VllmServiceTest {
 protected:
  LongAnswerTest()
      : VllmServiceTest({.yaml = kLevels, .num_pages = 600000, .max_context = 600000}) {}
};

TEST_F(LongAnswerTest, AnAnswerThatIsOneMessageIsBoundBeforeItIsMade) {
  vllm_api::GenerateRequest request = Ask(500000);
  request.mutable_sampling_params()->set_logprobs(20);
  request.mutable_sampling_params()->set_n(16);
  EXPECT_EQ(Generate(request).status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

class LoadingVllmServiceTest : public VllmServiceTest {
 protected:
  LoadingVllmServiceTest() : VllmServiceTest({.yaml = kLevels, .serve = false}) {}
};

TEST_F(LoadingVllmServiceTest, NothingIsServedBeforeTheModelIsThere) {
  EXPECT_FALSE(Call(&VllmStub::Stub::HealthCheck).healthy());
  EXPECT_EQ(Generate(Ask(1)).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  grpc::ClientContext info, tokenizer;
  vllm_api::GetModelInfoResponse response;
  EXPECT_EQ(stub_->GetModelInfo(&info, {}, &response).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(stub_->GetTokenizer(&tokenizer, {})->Finish().error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

class EndlessVllmServiceTest : public VllmServiceTest {
 protected:
  EndlessVllmServiceTest() : VllmServiceTest(Endless(kLevels)) {}
};

TEST_F(EndlessVllmServiceTest, AbortTakesTheIdAsItWasSent) {
  vllm_api::GenerateRequest request = Ask(50000, /*stream=*/true);
  request.set_request_id("level=half;unit=u;mine");
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, request);
  vllm_api::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  vllm_api::AbortRequest abort;
  abort.add_request_ids("level=half;unit=u;mine");
  Call(&VllmStub::Stub::Abort, abort);
  while (reader->Read(&response)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(response.complete().finish_reason(), "abort");
  EXPECT_TRUE(Eventually([&] { return server_.Load().running() == 0; }));
}

TEST_F(EndlessVllmServiceTest, AClientThatGoesEndsItsRequest) {
  for (const bool stream : {false, true}) {
    auto context = std::make_unique<grpc::ClientContext>();
    auto reader = stub_->Generate(context.get(), Ask(50000, stream));
    ASSERT_TRUE(Eventually([&] { return server_.Load().running() == 1; }));
    context->TryCancel();
    EXPECT_TRUE(Eventually([&] { return server_.Load().kv_pages_used() == 0; }));
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
}

class LevelPortTest : public VllmServiceTest {
 protected:
  LevelPortTest()
      : VllmServiceTest({.yaml = std::string(kLevels) + "level_listen: 'half=127.0.0.1:0'"}) {
    const std::vector<LevelPort> ports = server_.server().level_addresses();
    EXPECT_THAT(ports, SizeIs(1));
    channel_ = grpc::CreateChannel(ports.at(0).address, grpc::InsecureChannelCredentials());
    level_ = VllmStub::NewStub(channel_);
  }

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<VllmStub::Stub> level_;
};

TEST_F(LevelPortTest, ALevelIsAModelOfItsOwn) {
  grpc::ClientContext context;
  vllm_api::GetModelInfoResponse model;
  ASSERT_TRUE(level_->GetModelInfo(&context, {}, &model).ok());
  EXPECT_EQ(model.served_model_name(), "fake:half");
  const Answer answer = Generate(*level_, Ask(6));
  EXPECT_THAT(answer.complete.at(0).output_ids(), ElementsAreArray(OurIds(6, "half")));
  vllm_api::GenerateRequest request = Ask(6);
  request.set_request_id("level=full;1");
  EXPECT_THAT(Generate(*level_, request).complete.at(0).output_ids(),
              ElementsAreArray(OurIds(6, "full")))
      << "what a request says itself counts";
}

TEST_F(LevelPortTest, ServesNothingElse) {
  const auto ours = v1::Inference::NewStub(channel_);
  grpc::ClientContext context;
  v1::GetModelResponse response;
  EXPECT_EQ(ours->GetModel(&context, {}, &response).error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(LevelPortTest, AReloadKeepsItsLevel) {
  const absl::Status status = server_.Reload("levels: {full: none}");
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("level_listen: no level 'half'"));
  EXPECT_TRUE(server_.Reload("levels: {full: none, half: 'attn:last=1'}").ok());
  EXPECT_EQ(Generate(*level_, Ask(2)).trailing.at("skipstone-level"), "half");
}

TEST_F(LevelPortTest, DrainsWithTheOthers) {
  server_.gate().Close();
  grpc::ClientContext context;
  const auto reader = level_->Generate(&context, Ask(6, /*stream=*/true));
  server_.gate().WaitArrivals(1);
  std::thread drain([&] { EXPECT_TRUE(server_.server().Drain(/*now=*/false)); });
  server_.gate().Open();
  drain.join();
  vllm_api::GenerateResponse response;
  while (reader->Read(&response)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(response.complete().completion_tokens(), 6);
  EXPECT_EQ(Generate(*level_, Ask(1)).status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(LevelListenTest, NamesALevelThatExists) {
  ServerConfig config;
  ASSERT_TRUE(ReadConfigText("level_listen: 'nope=127.0.0.1:0'", "t.yaml", config).ok());
  const auto levels = Levels::Make(config, 4, 64);
  EXPECT_TRUE(absl::IsInvalidArgument(levels.status()));
  EXPECT_THAT(std::string(levels.status().message()), HasSubstr("level_listen: no level 'nope'"));
}

TEST(LevelListenTest, TextsThatAreNone) {
  for (const char* text : {"half", "half=", "=127.0.0.1:1", "half=127.0.0.1", "half=h:1,half=h:2",
                           "half=h:1,", "half=h:99999"}) {
    ServerConfig config;
    EXPECT_FALSE(ReadConfigText(std::string("level_listen: '") + text + "'", "t.yaml", config).ok())
        << text;
  }
  EXPECT_THAT(LevelPortsOf("a=h:1, b=[::1]:2"), SizeIs(2));
}

}  // namespace
}  // namespace skipstone::server
