// The configuration of a running process changes: by SIGHUP, by its file, under load.
#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "tests/integration/request_batch.h"
#include "tests/support/server_process.h"
#include "tests/support/temp_dir.h"

namespace skipstone {
namespace {

constexpr char kBefore[] = "levels: {full: none, half: 'attn:last=50%'}\nshadow_fraction: 0.1\n";
constexpr char kAfter[] = "levels: {full: none, most: 'attn:last=75%'}\ndefault_level: most\n";
constexpr char kBroken[] = "levels: {full: none, most: 'attn:last=175%'}\n";

bool Within(std::chrono::seconds time, const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

class ReloadTest : public testing::Test {
 protected:
  // Refused: empty.
  std::string DefaultLevel() {
    grpc::ClientContext context;
    v1::GetModelResponse model;
    EXPECT_TRUE(stub_->GetModel(&context, {}, &model).ok());
    return model.default_level();
  }
  double Generation() const { return server_->Metric("skipstone_config_generation"); }
  double Failures() const { return server_->Metric("skipstone_config_reload_failures_total"); }

  const TempDir dir_;
  const std::string file_ = dir_.Write("config.yaml", kBefore);
  const std::unique_ptr<ServerProcess> server_ = ServerProcess::Start(
      {"--model=" + DemoModelDir(), "--kv_pages=2000", "--log_level=error", "--config=" + file_});
  const std::unique_ptr<v1::Inference::Stub> stub_ = Connect(server_->grpc_address());
};

TEST_F(ReloadTest, ASignalOrAnotherFileUnderAStream) {
  grpc::ClientContext context;
  v1::GenerateRequest request = RandomRequests(1, {"attn:last=50%"}, 2048, 7)[0];
  request.mutable_stopping()->set_max_tokens(400);
  request.mutable_stopping()->set_ignore_eos(true);
  auto stream = stub_->GenerateStream(&context, request);
  v1::GenerateEvent event;
  ASSERT_TRUE(stream->Read(&event));
  ASSERT_EQ(DefaultLevel(), "full");

  dir_.Write("config.yaml", kBroken);
  server_->Signal(SIGHUP);
  EXPECT_TRUE(Within(std::chrono::seconds(30), [&] { return Failures() >= 1; }));
  EXPECT_EQ(DefaultLevel(), "full");
  EXPECT_EQ(Generation(), 1);

  dir_.Write("config.yaml", kAfter);  // nobody says so
  EXPECT_TRUE(Within(std::chrono::seconds(30), [&] { return DefaultLevel() == "most"; }));
  EXPECT_EQ(Generation(), 2);
  server_->Signal(SIGHUP);
  EXPECT_TRUE(Within(std::chrono::seconds(30), [&] { return Generation() == 3; }));

  while (stream->Read(&event)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(event.finished().usage().completion_tokens(), 400);
}

}  // namespace
}  // namespace skipstone
