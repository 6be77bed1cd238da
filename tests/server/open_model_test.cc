// Models by their files: what is refused at start and by --check, what is served of a model whose
// text or chat is not.
#include <grpcpp/grpcpp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/make_backend.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "skipstone/v1/inference.grpc.pb.h"
#include "tests/support/server_process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"
#include "tests/support/test_levels.h"

namespace skipstone::server {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// The demo model in a folder of its own, for files beside it.
class OpenModelTest : public testing::Test {
 protected:
  OpenModelTest() {
    for (const char* name : {"config.json", "model.safetensors", "tokenizer.model"}) {
      std::filesystem::copy_file(DemoModelDir() + "/" + name, Path(name));
    }
  }
  std::string Path(const std::string& name) const { return dir_.path() + "/" + name; }
  void Write(const std::string& name, const json& value) { dir_.Write(name, value.dump()); }
  // A vocabulary of another kind, which has the right size.
  void WriteByteLevelTokenizer() {
    std::filesystem::remove(Path("tokenizer.model"));
    json vocab = json::object();
    for (int id = 0; id < 2048; ++id) vocab["t" + std::to_string(id)] = id;
    Write("tokenizer.json",
          {{"pre_tokenizer", {{"type", "ByteLevel"}}},
           {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", json::array()}}}});
  }
  ServerConfig Config() const {
    ServerConfig config;
    config.model = dir_.path();
    config.backend = "cpu";
    config.engine.scheduler.num_pages = 1000;
    return config;
  }
  // What --check says of `model`; empty if it is valid.
  static std::string Check(const std::string& model) {
    const ProgramResult result = RunServerBinary({"--check", "--model=" + model});
    EXPECT_EQ(result.exit_status, result.err.empty() ? 0 : 2);
    return result.err;
  }
  TempDir dir_;
};

// Calls to a server of the folder.
class Served {
 public:
  explicit Served(const std::string& dir)
      : server_(ServerProcess::Start({"--model=" + dir, "--threads=1", "--kv_pages=1000"})) {
    if (server_ == nullptr) return;
    stub_ = v1::Inference::NewStub(
        grpc::CreateChannel(server_->grpc_address(), grpc::InsecureChannelCredentials()));
  }
  bool ok() const { return stub_ != nullptr; }

  grpc::Status Generate(const std::function<void(v1::GenerateRequest&)>& fill,
                        v1::Delta* delta = nullptr) {
    v1::GenerateRequest request;
    request.mutable_sampling()->set_temperature(0);
    request.mutable_stopping()->set_max_tokens(6);
    fill(request);
    grpc::ClientContext context;
    v1::GenerateResponse response;
    const grpc::Status status = stub_->Generate(&context, request, &response);
    if (delta != nullptr && status.ok()) *delta = response.outputs(0).delta();
    return status;
  }
  grpc::Status Detokenize(const v1::Delta& delta, std::string* text) {
    v1::DetokenizeRequest request;
    for (const v1::Token& token : delta.tokens()) request.add_ids(token.id());
    grpc::ClientContext context;
    v1::DetokenizeResponse response;
    const grpc::Status status = stub_->Detokenize(&context, request, &response);
    *text = response.text();
    return status;
  }
  v1::Inference::Stub& stub() { return *stub_; }

 private:
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<v1::Inference::Stub> stub_;
};

void Ask(v1::GenerateRequest& request) {
  v1::ChatMessage* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("Who art thou?");
}

void ExpectRefused(const grpc::Status& status, const std::string& field, const std::string& why) {
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION) << status.error_message();
  EXPECT_THAT(status.error_message(), AllOf(StartsWith(field), HasSubstr(why)));
}

TEST_F(OpenModelTest, CheckReadsTheTokenizer) {
  EXPECT_EQ(Check(dir_.path()), "");
  dir_.Write("tokenizer.model", "broken");
  EXPECT_THAT(Check(dir_.path()), HasSubstr("tokenizer.model is no SentencePiece model"));
  std::filesystem::remove(Path("tokenizer.model"));
  EXPECT_THAT(Check(dir_.path()), HasSubstr("there is neither"));
  WriteByteLevelTokenizer();
  EXPECT_EQ(Check(dir_.path()), "") << "served by ids";
}

TEST_F(OpenModelTest, CheckSaysWhatAModelIs) {
  const std::string served =
      "a model is a Hugging Face folder with config.json, *.safetensors, and tokenizer.model or "
      "tokenizer.json; GGUF files are not served";
  const std::string gguf = dir_.Write("llama-2-7b.Q4_K_M.gguf", "GGUF");
  EXPECT_THAT(Check(gguf), AllOf(HasSubstr("is no folder"), HasSubstr(served)));
  EXPECT_THAT(Check(dir_.path() + "/absent"), HasSubstr(served));
  std::filesystem::remove(Path("config.json"));
  EXPECT_THAT(Check(dir_.path()), AllOf(HasSubstr("config.json"), HasSubstr(served)));
}

TEST_F(OpenModelTest, RefusesTheTokenizerOfAnotherModel) {
  ModelConfig model;
  const auto open = [&](int vocab) {
    model.shape.vocab = vocab;
    return OpenTokenizerOf(Config(), model).status();
  };
  EXPECT_TRUE(open(2048).ok());
  EXPECT_THAT(
      std::string(open(2047).message()),
      AllOf(HasSubstr(dir_.path()), HasSubstr("2048 pieces, config.json a vocab_size of 2047")));
  EXPECT_THAT(std::string(open(49152).message()), HasSubstr("the 47104 ids from 2048 on"));
  EXPECT_TRUE(absl::IsInvalidArgument(open(2051)));
  Write("added_tokens.json", {{"<a>", 2048}, {"<b>", 2049}, {"<c>", 2050}});
  EXPECT_TRUE(open(2051).ok()) << "what is missing is added";
  EXPECT_TRUE(open(2112).ok()) << "padding to a multiple of 64";
  EXPECT_THAT(std::string(open(2050).message()), HasSubstr("its last piece is 2050, '<c>'"));
}

TEST_F(OpenModelTest, TheTokenizersEndOfSequenceCountsWhereTheConfigurationSaysNothing) {
  json config = json::parse(ReadTestFile(Path("config.json")));
  Write("tokenizer_config.json", {{"eos_token", "."}});
  auto named = OpenModel(Config());
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_EQ(named->options.eos_ids, std::vector<int32_t>{2});
  config.erase("eos_token_id");
  Write("config.json", config);
  auto silent = OpenModel(Config());
  ASSERT_TRUE(silent.ok()) << silent.status();
  ASSERT_EQ(silent->options.eos_ids.size(), 1);
  EXPECT_EQ(silent->tokenizer->Piece(silent->options.eos_ids[0]), ".");
  EXPECT_EQ(silent->info.config.eos_ids, silent->options.eos_ids);
  Write("generation_config.json", {{"eos_token_id", {13, 2}}});
  EXPECT_EQ(OpenModel(Config())->options.eos_ids, (std::vector<int32_t>{13, 2}));
  Write("generation_config.json", {{"eos_token_id", nullptr}});
  EXPECT_EQ(OpenModel(Config())->options.eos_ids, std::vector<int32_t>()) << "none, and says so";
  Write("generation_config.json", json::object());
  config["eos_token_id"] = nullptr;
  Write("config.json", config);
  EXPECT_EQ(OpenModel(Config())->options.eos_ids, std::vector<int32_t>());
}

TEST_F(OpenModelTest, AChatsAnswerIsATextOfItsOwn) {
  Served served(dir_.path());
  ASSERT_TRUE(served.ok());
  for (const bool chat : {true, false}) {
    v1::Delta delta;
    const grpc::Status status = served.Generate(
        [&](v1::GenerateRequest& request) {
          request.mutable_output()->set_token_ids(true);
          // Makes the first token one with the vocabulary's blank: _And.
          request.mutable_stopping()->set_max_tokens(1);
          (*request.mutable_sampling()->mutable_logit_bias())[300] = 100;
          if (chat) {
            Ask(request);
          } else {
            request.set_text("In the beginning");
          }
        },
        &delta);
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_EQ(delta.tokens(0).id(), 300);
    EXPECT_EQ(delta.text(), chat ? "And" : " And");
    std::string decoded;
    EXPECT_TRUE(served.Detokenize(delta, &decoded).ok());
    EXPECT_EQ(decoded, "And");
  }
}

TEST_F(OpenModelTest, ServesAnotherKindOfVocabularyByIdsOnly) {
  WriteByteLevelTokenizer();
  Served served(dir_.path());
  ASSERT_TRUE(served.ok());
  const std::string why = "its pre_tokenizer is ByteLevel";
  const auto ids = [](v1::GenerateRequest& request) {
    for (const uint32_t id : {1, 300, 301}) request.mutable_token_ids()->add_ids(id);
  };
  v1::Delta delta;
  const grpc::Status generated = served.Generate(ids, &delta);
  ASSERT_TRUE(generated.ok()) << generated.error_message();
  EXPECT_EQ(delta.tokens_size(), 6) << "without being asked for";
  EXPECT_EQ(delta.text(), "");
  ExpectRefused(served.Generate([](auto& request) { request.set_text("In the"); }), "text: ", why);
  ExpectRefused(served.Generate(Ask), "chat: ", why);
  ExpectRefused(served.Generate([&](auto& request) {
    ids(request);
    request.mutable_stopping()->add_stop_strings("x");
  }),
                "stopping.stop_strings: ", why);
  ExpectRefused(served.Generate([&](auto& request) {
    ids(request);
    request.mutable_output()->set_echo(true);
  }),
                "output.echo: ", why);
  std::string text;
  ExpectRefused(served.Detokenize(delta, &text), "", why);
  grpc::ClientContext tokenize_context;
  v1::TokenizeRequest tokenize;
  v1::TokenizeResponse tokenized;
  tokenize.set_text("In the");
  ExpectRefused(served.stub().Tokenize(&tokenize_context, tokenize, &tokenized), "", why);
  grpc::ClientContext score_context;
  v1::ScoreRequest score;
  v1::ScoreResponse scored;
  score.add_items()->mutable_prompt()->set_text("In the");
  ExpectRefused(served.stub().Score(&score_context, score, &scored), "items[0].prompt.text: ", why);
}

TEST_F(OpenModelTest, RefusesChatsWhereTheModelHasAnotherTemplate) {
  Write("tokenizer_config.json", {{"chat_template", "{{ '<|im_start|>' }}"}});
  Served served(dir_.path());
  ASSERT_TRUE(served.ok());
  ExpectRefused(served.Generate(Ask), "chat: ", "tokenizer_config.json is not Llama 2's");
  EXPECT_TRUE(served.Generate([](auto& request) { request.set_text("In the"); }).ok());
}

constexpr int kDemoLayers = 12;
constexpr int kDemoHidden = 256;

uint64_t DemoFingerprint() {
  static const uint64_t fingerprint = LoadModel(DemoModelDir(), {.backend = "cpu"})->fingerprint;
  return fingerprint;
}

TEST_F(OpenModelTest, MapsOfALevelsFileAreWeights) {
  ServerConfig config = Config();
  config.engine.scheduler.num_pages = 0;
  const auto plain = OpenModel(config);
  ASSERT_TRUE(plain.ok()) << plain.status();
  TestLevels levels(DemoFingerprint(), kDemoLayers, kDemoHidden);
  levels.Add("deep", "attn:last=2", "f", "full");
  config.levels_file = Path("levels.yaml");
  ASSERT_TRUE(WriteLevelsFile(levels.file, config.levels_file).ok());
  const auto served = OpenModel(config);
  ASSERT_TRUE(served.ok()) << served.status();
  EXPECT_EQ(served->levels_file->levels[0].skip, levels.file.levels[0].skip);
  constexpr int64_t kMapBytes = 4 * (kDemoHidden * kDemoHidden + kDemoHidden);
  EXPECT_EQ(served->runner->Usage().weight_bytes,
            plain->runner->Usage().weight_bytes + 2 * kMapBytes);
}

TEST_F(OpenModelTest, AnotherModelsLevelsAreRefusedAtStart) {
  TestLevels levels(0x0123456789abcdef, kDemoLayers, kDemoHidden);
  levels.Add("deep", "attn:last=2", "f", "bias");
  ASSERT_TRUE(WriteLevelsFile(levels.file, Path("levels.yaml")).ok());
  const ProgramResult result =
      RunServerBinary({"--model=" + DemoModelDir(), "--levels=" + Path("levels.yaml"),
                       "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0"});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_EQ(result.out, "") << "not ready";
  EXPECT_THAT(result.err, AllOf(HasSubstr("--levels: " + Path("levels.yaml")),
                                HasSubstr("are of another model: that one's fingerprint is "
                                          "0123456789abcdef"),
                                HasSubstr(absl::StrFormat("%016x", DemoFingerprint()))));
}

TEST_F(OpenModelTest, CheckReadsTheLevelsFile) {
  const auto check = [&](const std::string& levels) {
    return RunServerBinary({"--check", "--model=" + dir_.path(), "--levels=" + Path(levels)}).err;
  };
  EXPECT_THAT(check("absent.yaml"), AllOf(HasSubstr("--levels: "), HasSubstr("absent.yaml")));
  dir_.Write("wrong.yaml", "format: 1\nlevel: 2\n");
  EXPECT_THAT(check("wrong.yaml"), HasSubstr("wrong.yaml:2: unknown key 'level'"));
  TestLevels levels(1, 30, kDemoHidden);
  levels.Add("deep", "attn:last=2", "f");
  ASSERT_TRUE(WriteLevelsFile(levels.file, Path("large.yaml")).ok());
  EXPECT_THAT(check("large.yaml"), HasSubstr("of a model of 30 layers, this one has 12"));
}

// Safe by default: who has not measured is told so.
TEST_F(OpenModelTest, LevelsWithoutMeasuredQualityAreWarnedOf) {
  TestLevels levels(DemoFingerprint(), kDemoLayers, kDemoHidden);
  levels.Add("measured", "attn:11", "f").quality = TestQuality(0.5);
  levels.Add("guessed", "attn:10-11", "f");
  ASSERT_TRUE(WriteLevelsFile(levels.file, Path("levels.yaml")).ok());
  const auto log = [&](std::vector<std::string> flags) {
    const int file = memfd_create("log", 0);
    flags.insert(flags.end(), {"--model=" + DemoModelDir(), "--threads=1", "--kv_pages=1000"});
    EXPECT_NE(ServerProcess::Start(flags, file), nullptr);  // and ended
    std::string text(1 << 16, '\0');
    text.resize(std::max<ssize_t>(0, pread(file, text.data(), text.size(), 0)));
    close(file);
    return text;
  };
  const std::string with = log({"--levels=" + Path("levels.yaml")});
  EXPECT_THAT(with, HasSubstr("skip_level=guessed"));
  EXPECT_THAT(with, testing::Not(HasSubstr("skip_level=measured")));
  EXPECT_THAT(with, testing::Not(HasSubstr("skip_level=full")));
  EXPECT_THAT(log({}), HasSubstr("there is no levels file (--levels)"));
}

}  // namespace
}  // namespace skipstone::server
