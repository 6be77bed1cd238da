// Two servers behind one client are restarted one after the other while requests come: none is
// lost.
#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <chrono>
#include <condition_variable>
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
constexpr int kBetween = 40;           // requests between two restarts
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
  // Waits for the requests that are open. What went wrong.
  std::vector<std::string> Stop() {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    for (std::thread& caller : callers_) caller.join();
    return errors_;
  }
  // Until `count` more have been sent.
  void Await(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this, target = sent_ + count] { return sent_ >= target; });
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      const int number = next_++;
      const auto due = start_ + number * kInterval;
      if (changed_.wait_until(lock, due, [this] { return stopped_; })) return;
      ++sent_;
      changed_.notify_all();
      lock.unlock();
      const absl::Status status = Call(number);
      lock.lock();
      if (status.ok()) continue;
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
  std::mutex mutex_;
  std::condition_variable changed_;
  int next_ = 0;
  int sent_ = 0;
  bool stopped_ = false;
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
  auto client = std::make_unique<client::Client>(grpc::CreateCustomChannel(
      "ipv4:" + servers[0]->grpc_address() + "," + servers[1]->grpc_address(),
      grpc::InsecureChannelCredentials(), client::MakeChannelArguments(own)));
  ASSERT_TRUE(client->GetModel().ok());

  Traffic traffic(*client);
  for (auto& server : servers) {
    traffic.Await(kBetween);
    const std::string address = server->grpc_address();
    server->Signal(SIGTERM);
    EXPECT_EQ(server->Wait(), 0);
    server = StartOn(address);
    if (server == nullptr) break;
    EXPECT_EQ(server->grpc_address(), address);
  }
  traffic.Await(kBetween);
  for (const std::string& error : traffic.Stop()) ADD_FAILURE() << error;

  client.reset();  // a server waits for its connections
  for (const auto& server : servers) {
    ASSERT_NE(server, nullptr) << "the port was not free again";
    server->Signal(SIGTERM);  // they end beside each other
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, RollingRestartTest, testing::Values("pick_first", "round_robin"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace skipstone
