#include "tests/hostile/wire_seeds.h"

#include <utility>

#include "skipstone/v1/inference.pb.h"
#include "vllm/engine.pb.h"

namespace skipstone {
namespace {

v1::GenerateRequest SmallRequest() {
  v1::GenerateRequest request;
  request.set_text("In the beginning");
  request.mutable_stopping()->set_max_tokens(2);
  return request;
}

std::vector<std::string> GenerateSeeds() {
  std::vector<std::string> seeds = {SmallRequest().SerializeAsString()};
  v1::GenerateRequest ids = SmallRequest();
  for (const uint32_t id : {1u, 5u, 300u, 2047u}) ids.mutable_token_ids()->add_ids(id);
  ids.mutable_skip()->set_spec("attn:last=33%");
  ids.mutable_output()->set_logprobs(3);
  ids.mutable_output()->set_prompt_logprobs(2);
  ids.mutable_output()->set_echo(true);
  ids.set_n(2);
  seeds.push_back(ids.SerializeAsString());
  v1::GenerateRequest chat = SmallRequest();
  for (const char* role : {"system", "user", "assistant", "user"}) {
    v1::ChatMessage* message = chat.mutable_chat()->add_messages();
    message->set_role(role);
    message->set_content("say it");
  }
  chat.mutable_skip()->mutable_layers()->add_attention(11);
  v1::WindowedLayer* windowed = chat.mutable_skip()->mutable_layers()->add_windowed();
  windowed->set_layer(10);
  windowed->set_tokens(64);
  chat.mutable_skip()->mutable_adaptive()->set_ceiling_spec("attn:last=50%");
  chat.set_request_id("a-name");
  chat.set_experiment_key("unit");
  chat.set_cache_salt("salt");
  seeds.push_back(chat.SerializeAsString());
  v1::GenerateRequest sampling = SmallRequest();
  sampling.mutable_skip()->set_level("full");
  v1::Sampling& how = *sampling.mutable_sampling();
  how.set_temperature(0.7f);
  how.set_top_p(0.9f);
  how.set_top_k(40);
  how.set_min_p(0.05f);
  how.set_repetition_penalty(1.1f);
  how.set_seed(7);
  (*how.mutable_logit_bias())[12] = -3;
  sampling.mutable_stopping()->add_stop_strings("\n");
  sampling.mutable_stopping()->add_stop_token_ids(2);
  sampling.mutable_stopping()->set_time_limit_ms(50);
  sampling.set_truncate_prompt_tokens(3);
  sampling.set_priority(-1);
  seeds.push_back(sampling.SerializeAsString());
  return seeds;
}

std::string ScoreSeed() {
  v1::ScoreRequest request;
  request.set_top_logprobs(2);
  v1::ScoreItem* item = request.add_items();
  item->mutable_prompt()->set_text("In the");
  item->mutable_continuation()->set_text(" beginning");
  for (const uint32_t id : {1u, 9u, 10u}) {
    if (id == 1u) request.add_items();
    request.mutable_items(1)->mutable_prompt()->mutable_token_ids()->add_ids(id);
  }
  return request.SerializeAsString();
}

std::string VllmSeed() {
  vllm::grpc::engine::GenerateRequest request;
  for (const uint32_t id : {1u, 9u, 10u}) request.mutable_tokenized()->add_input_ids(id);
  vllm::grpc::engine::SamplingParams& params = *request.mutable_sampling_params();
  params.set_temperature(0.5);
  params.set_max_tokens(2);
  params.set_logprobs(1);
  params.add_stop("the");
  (*params.mutable_logit_bias())[7] = 1;
  params.set_truncate_prompt_tokens(-1);
  return request.SerializeAsString();
}

// Frame: length, type, flags, stream (RFC 9113, 4.1).
std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame += static_cast<char>(payload.size() >> shift);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) frame += static_cast<char>(stream >> shift);
  return frame + payload;
}

// Literal header field without indexing, new name (RFC 7541, 6.2.2), no Huffman coding.
std::string Header(const std::string& name, const std::string& value) {
  std::string field(1, '\0');
  for (const std::string& text : {name, value}) field += static_cast<char>(text.size()) + text;
  return field;
}

std::string CallHeaders(const std::string& path) {
  return Header(":method", "POST") + Header(":scheme", "http") + Header(":path", path) +
         Header(":authority", "localhost") + Header("content-type", "application/grpc") +
         Header("te", "trailers") + Header("grpc-timeout", "200m") + Header("x-user-id", "u1");
}

std::string Message(const std::string& bytes) {
  std::string message(1, '\0');  // not compressed
  for (const int shift : {24, 16, 8, 0}) message += static_cast<char>(bytes.size() >> shift);
  return message + bytes;
}

}  // namespace

std::vector<MethodSeeds> UnaryMethodSeeds() {
  // Tags and values that the messages consist of.
  const std::vector<std::string> dictionary = {std::string("\x08\x00", 2),
                                               "\x0a\x04none",
                                               "\x12\x05\x31\x2d\x32\x2c\x33",
                                               "\x10\xff\xff\xff\xff\x0f",
                                               "\x1a\x00",
                                               "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                                               "attn:last=50%",
                                               "\x0a\x0dlevel=full;id",
                                               "win:last=50%/64",
                                               "block:0-11",
                                               "\xe2\x96\x81",
                                               "\xef\xbf\xbd",
                                               "\xc0\x80",
                                               std::string("\x00\x00\xc0\x7f", 4)};
  v1::TokenizeRequest tokenize;
  tokenize.set_text("In the beginning");
  v1::DetokenizeRequest detokenize;
  for (const uint32_t id : {1u, 30u, 2047u}) detokenize.add_ids(id);
  v1::AbortRequest abort;
  abort.add_request_ids("a-name");
  vllm::grpc::engine::AbortRequest their_abort;
  their_abort.add_request_ids("unit=u;a-name");
  const std::string service = "/skipstone.v1.Inference/";
  const std::string theirs = "/vllm.grpc.engine.VllmEngine/";
  return {{service + "Generate", {GenerateSeeds(), dictionary}},
          {service + "Score", {{ScoreSeed()}, dictionary}},
          {service + "Tokenize", {{tokenize.SerializeAsString()}, dictionary}},
          {service + "Detokenize", {{detokenize.SerializeAsString()}, dictionary}},
          {service + "Abort", {{abort.SerializeAsString()}, dictionary}},
          {service + "GetModel", {{""}, dictionary}},
          {service + "GetLoad", {{""}, dictionary}},
          {theirs + "Generate", {{VllmSeed()}, dictionary}},
          {theirs + "Abort", {{their_abort.SerializeAsString()}, dictionary}},
          {theirs + "GetModelInfo", {{""}, dictionary}}};
}

FuzzSeeds SessionSeeds() {
  enum Type : uint8_t {
    kData,
    kHeaders,
    kPriority,
    kReset,
    kSettings,
    kPush,
    kPing,
    kGoAway,
    kWindow,
    kContinuation
  };
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, "");
  const std::string headers = CallHeaders("/skipstone.v1.Inference/GenerateStream");
  const std::string data = Message(SmallRequest().SerializeAsString());
  const std::string acknowledge = Frame(kSettings, 1, 0, "");
  const std::string ping = Frame(kPing, 0, 0, "12345678");
  const std::string window = Frame(kWindow, 0, 0, std::string("\x00\x01\x00\x00", 4));
  const std::string reset = Frame(kReset, 0, 1, std::string("\x00\x00\x00\x08", 4));
  std::string calls = preface + acknowledge;
  for (uint32_t stream = 1; stream < 9; stream += 2) {
    calls += Frame(kHeaders, 4, stream, headers) + Frame(kData, 1, stream, data);
  }
  std::string split = preface + Frame(kHeaders, 0, 1, headers.substr(0, 40)) +
                      Frame(kContinuation, 0, 1, headers.substr(40, 40)) +
                      Frame(kContinuation, 4, 1, headers.substr(80)) + Frame(kData, 0, 1, data) +
                      reset;
  FuzzSeeds seeds;
  seeds.inputs = {calls, std::move(split), calls + reset + ping + window + calls.substr(24),
                  preface + ping + window + Frame(kHeaders, 5, 1, headers),
                  "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"};
  for (uint8_t type = kData; type <= kContinuation + 1; ++type) {
    seeds.dictionary.push_back(Frame(type, 0, 1, ""));
    seeds.dictionary.push_back(Frame(type, 0xff, 0, "12345678"));
    seeds.dictionary.push_back(Frame(type, 4, 3, headers));
    seeds.dictionary.push_back(Frame(type, 1, 1, data));
  }
  return seeds;
}

}  // namespace skipstone
