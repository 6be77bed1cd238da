// Experiments whose truth is known, through the real server under load.
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/read_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/request_batch.h"
#include "tests/support/server_process.h"
#include "tests/support/temp_dir.h"

namespace skipstone {
namespace {

using testing::MatchesRegex;

constexpr int kVocab = 2048;
constexpr int kClients = 8;

// `again` is the control under another name, `deep` is far from it.
constexpr char kConfig[] =
    "levels: {full: none, again: none, deep: 'attn:last=75%+mlp:last=50%'}\n"
    "shadow_rows_beside: 16\n"  // the server is never idle
    "experiments:\n- name: e\n  unit: request.experiment_key\n  shadow: {fraction: 1}\n"
    "  guardrails: [{metric: kl, max: 0.2}, {metric: error_rate, max: 0.01}]\n"
    "  arms: [{name: control, level: full, weight: 1}, {name: equal, level: again, weight: 1},\n"
    "         {name: harmful, level: deep, weight: 1}]\n";

// What clients that never pause have seen.
struct Traffic {
  std::atomic<int> served{0};
  std::atomic<int> failed{0};
  std::atomic<int> harmful{0};  // served by that arm

  void Serve(v1::Inference::Stub& stub, uint32_t number) {
    v1::GenerateRequest request = RandomRequests(1, {"none"}, kVocab, number)[0];
    request.clear_skip();
    request.set_experiment_key(absl::StrCat("user-", number % 997));
    request.mutable_stopping()->set_max_tokens(8 + number % 17);
    grpc::ClientContext context;
    v1::GenerateResponse response;
    const grpc::Status status = stub.Generate(&context, request, &response);
    if (!status.ok()) ADD_FAILURE() << status.error_message();
    ++(status.ok() ? served : failed);
    const v1::AppliedSkip& applied = response.accepted().applied_skip();
    if (applied.arm() == "harmful") ++harmful;
    EXPECT_EQ(applied.level(), applied.arm() == "harmful" ? "deep"
                               : applied.arm() == "equal" ? "again"
                                                          : "full");
  }
};

double Enabled(const ServerProcess& server, const std::string& arm) {
  return server.Metric("skipstone_experiment_arm_enabled", {"arm=\"e/" + arm + "\""});
}

// What the server's file of them says; empty: it does not say it within a minute.
std::string WhyOff(const std::string& folder) {
  for (int i = 0; i < 600; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string text = ReadFile("experiment_state", entry.path()).value_or("");
      std::smatch why;
      if (std::regex_search(text, why, std::regex("\"why\": ?\"([^\"]*)\""))) return why[1];
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return "";
}

TEST(GuardrailTest, UnderLoadTheHarmfulArmIsTurnedOffTheEqualOneStaysAndNothingFails) {
  const TempDir dir;
  const auto server =
      ServerProcess::Start({"--model=" + DemoModelDir(), "--kv_pages=4000", "--log_level=error",
                            "--experiment_state=" + dir.path() + "/state",
                            "--config=" + dir.Write("config.yaml", kConfig)});
  ASSERT_NE(server, nullptr);
  const auto stub = Connect(server->grpc_address());
  Traffic traffic;
  std::atomic<bool> stop{false};
  std::atomic<uint32_t> next{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&] {
      while (!stop) traffic.Serve(*stub, next++);
    });
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (Enabled(*server, "harmful") == 1 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(Enabled(*server, "harmful"), 0);
  const int until_off = traffic.served;
  // What is under way ends in its arm; nobody new gets it.
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const int harmful = traffic.harmful;
  while (traffic.served < until_off + 500 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(traffic.harmful, harmful);
  EXPECT_EQ(traffic.failed, 0);
  EXPECT_EQ(Enabled(*server, "equal"), 1);
  EXPECT_EQ(Enabled(*server, "control"), 1);
  EXPECT_EQ(server->Metric("skipstone_guardrail_trips_total"), 1);
  EXPECT_EQ(server->Metric("skipstone_requests_total", {"outcome=\"error\""}), 0);
  RecordProperty("served_until_off", until_off);
  // The first verdict of all.
  EXPECT_THAT(WhyOff(dir.path() + "/state"),
              MatchesRegex("kl max 0\\.2: [0-9.]+ after 100 values"));
}

}  // namespace
}  // namespace skipstone
