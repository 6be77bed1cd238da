// Two servers behind one client are restarted one after the other while requests come: none is
// lost.
#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/channel.h"
#include "client/client.h"
#include "gtest/gtest.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kInterval(20);  // 50 requests/s
// More than are open at once: each may wait for a server that is away.
constexpr int kCallers = 64;

std::unique_ptr<ServerProcess> StartOn(const std::string& address) {
  return ServerProcess::Start({"--model=" + DemoModelDir(), "--kv_memory=64MiB", "--threads=1",
                               "--listen=" + address, "--drain_grace=300ms",
                               "--drain_timeout=10s"});
}

// Requests at a fixed rate, whatever becomes of them, until it is stopped. Every second one is a
// stream.
class Traffic {
 public:
  explicit Traffic(const client::Client& client) : client_(client), start_(steady_clock::now()) {
    for (int i = 0; i < kCallers; ++i) callers_.emplace_back([this] { Run(); });
  }
  // Waits for the requests that are open. Their errors.
  std::vector<std::string> Stop() {
    stopped_ = true;
    for (std::thread& caller : callers_) caller.join();
    return errors_;
  }
  int sent() const { return next_; }
  // Until `count` more have been sent.
  void Await(int count) const {
    for (const int target = sent() + count; sent() < target;) std::this_thread::yield();
  }

 private:
  void Run() {
    while (!stopped_) {
      const int number = next_++;
      std::this_thread::sleep_until(start_ + number * kInterval);
      const absl::Status status = Call(number);
      if (status.ok()) continue;
      std::lock_guard lock(mutex_);
      errors_.push_back("request " + std::to_string(number) + ": " + status.ToString());
    }
  }

  absl::Status Call(int number) const {
    v1::GenerateRequest request;
    for (int i = 0; i < 4; ++i) request.mutable_token_ids()->add_ids(3 + (number + i) % 2000);
    request.mutable_stopping()->set_max_tokens(4);
    request.mutable_stopping()->set_ignore_eos(true);
    client::CallOptions options;
    options.timeout = std::chrono::seconds(20);
    if (number % 2 == 0) return client_.Generate(request, options).status();
    const auto stream = client_.GenerateStream(request, options);
    v1::GenerateEvent event;
    while (stream->Next(event)) {
    }
    return stream->status();
  }

  const client::Client& client_;
  const steady_clock::time_point start_;
  std::atomic<int> next_ = 0;
  std::atomic<bool> stopped_ = false;
  std::mutex mutex_;
  std::vector<std::string> errors_;
  std::vector<std::thread> callers_;
};

class RollingRestartTest : public testing::TestWithParam<std::string> {};

TEST_P(RollingRestartTest, LosesNoRequest) {
  std::vector<std::unique_ptr<ServerProcess>> servers;
  for (int i = 0; i < 2; ++i) {
    servers.push_back(StartOn("127.0.0.1:0"));
    ASSERT_NE(servers.back(), nullptr);
  }
  grpc::ChannelArguments own;
  own.SetLoadBalancingPolicyName(GetParam());
  const client::Client client(grpc::CreateCustomChannel(
      "ipv4:" + servers[0]->grpc_address() + "," + servers[1]->grpc_address(),
      grpc::InsecureChannelCredentials(), client::MakeChannelArguments(own)));
  ASSERT_TRUE(client.GetModel().ok());

  Traffic traffic(client);
  for (auto& server : servers) {
    traffic.Await(30);
    const std::string address = server->grpc_address();
    server->Signal(SIGTERM);
    EXPECT_EQ(server->Wait(), 0);
    server = StartOn(address);
    ASSERT_NE(server, nullptr);
    ASSERT_EQ(server->grpc_address(), address);
  }
  traffic.Await(30);
  for (const std::string& error : traffic.Stop()) ADD_FAILURE() << error;
  EXPECT_GE(traffic.sent(), 90);
  for (const auto& server : servers) server->Signal(SIGTERM);  // they end beside each other
}

INSTANTIATE_TEST_SUITE_P(Policies, RollingRestartTest, testing::Values("pick_first", "round_robin"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace skipstone
