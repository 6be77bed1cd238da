// The log of a running server: with a reader that stalls, and what its lines say.
#include "server/logging.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"
#include "tests/support/server_process.h"

namespace skipstone::server {
namespace {

using nlohmann::json;

const std::vector<std::string> kTiny = {
    "--model=synthetic:layers=2,hidden=64,heads=4,ffn=128,vocab=64,context=1000000", "--threads=1",
    "--kv_pages=130000", "--log_level=info", "--log_format=json"};

// A line's keys as they stand there, and their values.
using Line = std::multimap<std::string, std::string>;

std::string ValueOf(const Line& line, const std::string& key) {
  const auto it = line.find(key);
  return it == line.end() ? "" : it->second;
}

// Whatever a line says: it is an object of strings, names each once, has a severity, and its code
// is a word.
void Check(const Line& line, const std::string& text) {
  for (const auto& [key, value] : line) EXPECT_EQ(line.count(key), 1u) << key << " in " << text;
  EXPECT_THAT(ValueOf(line, "time"), testing::MatchesRegex("20..-..-..T..:..:...*")) << text;
  EXPECT_THAT(ValueOf(line, "level"), testing::AnyOf("debug", "info", "warning", "error")) << text;
  EXPECT_NE(ValueOf(line, "event"), "") << text;
  if (line.contains("code")) {
    EXPECT_THAT(ValueOf(line, "code"), testing::MatchesRegex("[A-Z_]+")) << text;
  }
}

std::vector<Line> LinesOf(const std::string& log) {
  std::istringstream in(log);
  std::vector<Line> lines;
  for (std::string text; std::getline(in, text);) {
    Line line;
    std::string key;
    int depth = 0;
    const json::parser_callback_t each = [&](int at, json::parse_event_t event, json& value) {
      depth = std::max(depth, at);
      if (event == json::parse_event_t::key) key = value;
      if (event == json::parse_event_t::value) line.emplace(key, value.get<std::string>());
      return true;
    };
    EXPECT_TRUE(json::parse(text, each, false).is_object()) << text;
    EXPECT_EQ(depth, 1) << text;
    Check(line, text);
    lines.push_back(std::move(line));
  }
  return lines;
}

// A server whose log this test reads, or does not.
class LoggingTest : public testing::Test {
 protected:
  void Start(int pipe_bytes, bool full) {
    ASSERT_EQ(pipe2(log_, O_CLOEXEC), 0);
    ASSERT_GE(fcntl(log_[1], F_SETPIPE_SZ, pipe_bytes), pipe_bytes);
    if (full) {
      const std::string page(4096, 'x');
      ASSERT_EQ(fcntl(log_[1], F_SETFL, O_NONBLOCK), 0);
      while (write(log_[1], page.data(), page.size()) > 0) {
      }
      ASSERT_EQ(fcntl(log_[1], F_SETFL, 0), 0);
    }
    server_ = ServerProcess::Start(kTiny, log_[1]);
    ASSERT_NE(server_, nullptr);
    close(log_[1]);
    channel_ = grpc::CreateChannel(server_->grpc_address(), grpc::InsecureChannelCredentials());
    stub_ = v1::Inference::NewStub(channel_);
  }
  ~LoggingTest() override {
    if (log_[0] >= 0) close(log_[0]);
  }

  grpc::Status Generate(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    v1::GenerateResponse response;
    return stub_->Generate(&context, request, &response);
  }

  // Without a client that would be waited for.
  void EndServer() {
    stub_.reset();
    channel_.reset();
    server_->Signal(SIGTERM);
    EXPECT_EQ(server_->Wait(), 0);
  }

  // Ends the server; what it logged.
  std::vector<Line> Lines() {
    EndServer();
    std::string text;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = read(log_[0], buffer, sizeof(buffer))) > 0) text.append(buffer, n);
    return LinesOf(text);
  }

  int log_[2] = {-1, -1};
  std::unique_ptr<ServerProcess> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Inference::Stub> stub_;
};

TEST_F(LoggingTest, AReaderThatStallsHoldsNothingUp) {
  Start(4096, /*full=*/true);
  // More lines than are kept.
  v1::GenerateRequest request = Prompt("5", 1);
  for (int i = 0; server_->Metric("skipstone_log_lines_dropped_total") == 0; ++i) {
    ASSERT_LT(i, 100) << "no line is dropped";
    for (int k = 0; k < 100; ++k) ASSERT_TRUE(Generate(request).ok());
  }
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  grpc::health::v1::HealthCheckResponse health;
  EXPECT_TRUE(grpc::health::v1::Health::NewStub(channel_)->Check(&context, {}, &health).ok());
  EXPECT_EQ(health.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  EXPECT_TRUE(Generate(request).ok());
  const auto start = std::chrono::steady_clock::now();
  EndServer();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST_F(LoggingTest, AReaderThatEndsHoldsNothingUpEither) {
  Start(4096, /*full=*/false);
  close(std::exchange(log_[0], -1));
  for (int k = 0; k < 10; ++k) EXPECT_TRUE(Generate(Prompt("5", 1)).ok());
  EXPECT_TRUE(
      Eventually([&] { return server_->Metric("skipstone_log_lines_dropped_total") >= 10; }));
  EndServer();
}

TEST_F(LoggingTest, NoLineHasAKeyTwiceAndTheLastOnesComeOut) {
  Start(1 << 20, /*full=*/false);
  ASSERT_TRUE(Generate(Prompt("5 6", 3)).ok());
  {
    v1::ScoreRequest score;
    score.add_items()->mutable_prompt()->set_text("5 6 7");
    grpc::ClientContext context;
    v1::ScoreResponse scored;
    ASSERT_TRUE(stub_->Score(&context, score, &scored).ok());
  }
  ASSERT_FALSE(Generate(Prompt("5 6", 0)).ok());
  std::map<std::string, Line> by_event;
  for (const Line& line : Lines()) by_event[ValueOf(line, "event")] = line;
  for (const char* event : {"loaded", "finished", "scored", "refused", "draining", "drained"}) {
    ASSERT_TRUE(by_event.contains(event)) << event;
    EXPECT_EQ(ValueOf(by_event[event], "level"), "info") << event;
  }
  for (const char* event : {"finished", "scored"}) {
    EXPECT_EQ(ValueOf(by_event[event], "skip_level"), "full") << event;
    EXPECT_EQ(ValueOf(by_event[event], "code"), "OK") << event;
  }
  EXPECT_EQ(ValueOf(by_event["refused"], "code"), "INVALID_ARGUMENT");
}

TEST_F(LoggingTest, AStartThatFailsSaysWhyInALine) {
  const ProgramResult result = RunServerBinary({"--model=/a \"b\"\n", "--log_format=json"});
  EXPECT_NE(result.exit_status, 0);
  const std::vector<Line> lines = LinesOf(result.err);
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(ValueOf(lines.back(), "event"), "failed");
  EXPECT_EQ(ValueOf(lines.back(), "level"), "error");
  EXPECT_THAT(ValueOf(lines.back(), "status"), testing::HasSubstr("/a \"b\"\n"));
}

TEST_F(LoggingTest, ACancelledRequestIsLoggedWithWhatItHad) {
  Start(1 << 20, /*full=*/false);
  {
    Streaming stream(*stub_, Prompt("5 6 7", 900000));
    ASSERT_TRUE(stream.Read() && stream.Read());
    stream.Cancel();
    EXPECT_EQ(stream.ReadAll().error_code(), grpc::StatusCode::CANCELLED);
  }
  ASSERT_TRUE(Eventually(
      [&] { return server_->Metric("skipstone_requests_total", {"outcome=\"cancelled\""}) == 1; }));
  int finished = 0;
  for (const Line& line : Lines()) {
    if (ValueOf(line, "event") != "finished") continue;
    ++finished;
    EXPECT_EQ(ValueOf(line, "code"), "CANCELLED");
    EXPECT_EQ(ValueOf(line, "prompt_tokens"), "3");
    for (const char* key : {"completion_tokens", "ttft_ms", "e2e_ms", "kv_pages_used"}) {
      EXPECT_GT(std::stod(ValueOf(line, key)), 0) << key;
    }
  }
  EXPECT_EQ(finished, 1);
}

TEST_F(LoggingTest, RefusalsAreCountedWhereTheyAreTooManyToTell) {
  Start(1 << 20, /*full=*/false);
  constexpr int kRefused = 200;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRefused; ++i) EXPECT_FALSE(Generate(Prompt("5", 0)).ok());
  const auto seconds = 1 + (std::chrono::steady_clock::now() - start) / std::chrono::seconds(1);
  int lines = 0;
  int more = 0;
  for (const Line& line : Lines()) {
    if (ValueOf(line, "event") != "refused") continue;
    if (line.contains("more")) {
      more += std::stoi(ValueOf(line, "more"));
    } else {
      ++lines;
    }
  }
  EXPECT_EQ(lines + more, kRefused);
  EXPECT_LE(lines, 10 * (seconds + 1));
}

// A client can make protobuf complain as often as it likes.
TEST_F(LoggingTest, WhatLibrariesSayIsALineLikeOthers) {
  Start(1 << 20, /*full=*/false);
  v1::GenerateRequest request = Prompt("5", 1);
  request.mutable_skip()->set_level("\xff\xfe");
  EXPECT_FALSE(Generate(request).ok());
  int lines = 0;
  for (const Line& line : Lines()) lines += ValueOf(line, "event") == "protobuf";
  EXPECT_EQ(lines, 1);
}

}  // namespace
}  // namespace skipstone::server
