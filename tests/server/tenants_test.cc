// What tenants see of each other: nothing.
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

std::function<void(grpc::ClientContext&)> From(const std::string& tenant) {
  return [tenant](grpc::ClientContext& context) {
    context.AddMetadata("x-tenant", tenant);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  };
}

// Cached prompt tokens of each of a row of equal prompts.
std::vector<uint32_t> Cached(FakeServer& server, const std::vector<std::string>& tenants,
                             const std::string& salt) {
  std::vector<uint32_t> cached;
  for (const std::string& tenant : tenants) {
    v1::GenerateRequest request = Prompt("1 2 3 4 5 6 7 8 9", 2);
    request.set_cache_salt(salt);
    const auto answer = server.Generate(request, From(tenant));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    cached.push_back(answer.response.accepted().cached_prompt_tokens());
  }
  return cached;
}

TEST(TenantsTest, ThePrefixCacheTellsNothingOfOthersPrompts) {
  FakeServer server({.yaml = "fair_share: metadata:x-tenant"});
  EXPECT_EQ(Cached(server, {"a", "b", "a", "b"}, ""), (std::vector<uint32_t>{0, 0, 8, 8}));
  EXPECT_EQ(Cached(server, {"a", "b"}, "salt"), (std::vector<uint32_t>{0, 0}));
  EXPECT_EQ(Cached(server, {"as"}, "alt"), (std::vector<uint32_t>{0}));
}

TEST(TenantsTest, TheyMayBeToldToShareIt) {
  FakeServer server({.yaml = "fair_share: metadata:x-tenant\n"
                             "policy: {share_prefix_cache_across_tenants: true}"});
  EXPECT_EQ(Cached(server, {"a", "b"}, ""), (std::vector<uint32_t>{0, 8}));
}

// One call at a time runs. The order in which calls that wait are served, by their tenants.
TEST(TenantsTest, MadeUpNamesDoNotOvertake) {
  FakeServer server({.yaml = "fair_share: metadata:x-tenant", .max_sequences = 1});
  server.gate().Close();
  std::vector<std::unique_ptr<Streaming>> honest;
  std::vector<std::unique_ptr<Streaming>> made_up;
  for (int i = 0; i < 4; ++i) {
    honest.push_back(std::make_unique<Streaming>(server.stub(), Prompt("5 6 7", 4), From("a")));
    if (i == 0) server.gate().WaitArrivals(1);
  }
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 3; }));
  for (int i = 0; i < 12; ++i) {
    made_up.push_back(std::make_unique<Streaming>(server.stub(), Prompt("5 6 7", 4),
                                                  From("made up " + std::to_string(i))));
  }
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 15; }));
  // A step for each token, so these are 8 calls and a token: 4 of a, and 4 of the others.
  server.gate().CloseFrom(8 * 4 + 2);
  for (auto& stream : honest) EXPECT_TRUE(stream->ReadAll().ok());
  server.gate().Open();
  for (auto& stream : made_up) EXPECT_TRUE(stream->ReadAll().ok());
}

}  // namespace
}  // namespace skipstone::server
