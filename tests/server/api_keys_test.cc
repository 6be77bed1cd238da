// Callers with keys, without, and with those of others.
#include "server/api_keys.h"

#include <openssl/sha.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;

std::string HashOf(const std::string& key) {
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), hash);
  return absl::BytesToHexString({reinterpret_cast<const char*>(hash), sizeof(hash)});
}

// An entry of `keys`; `more` begins with a comma.
std::string Entry(const std::string& key, const std::string& tenant, const std::string& more = "") {
  return absl::StrCat("- {tenant: ", tenant, ", sha256: ", HashOf(key), more, "}\n");
}

std::string Yaml(const std::string& entries) {
  return "levels: {full: none, half: 'attn:last=2', most: 'attn:last=3'}\nkeys:\n" + entries;
}

std::function<void(grpc::ClientContext&)> With(const std::string& authorization) {
  return [authorization](grpc::ClientContext& context) {
    context.AddMetadata("authorization", authorization);
  };
}

grpc::StatusCode CodeOf(FakeServer& server, const std::string& key,
                        const v1::GenerateRequest& request = Prompt("5 6 7", 2)) {
  return server.Generate(request, With("Bearer " + key)).status.error_code();
}

v1::GenerateRequest AtLevel(const std::string& level) {
  v1::GenerateRequest request = Prompt("5 6 7", 2);
  request.mutable_skip()->set_level(level);
  return request;
}

TEST(ApiKeysTest, OnlyWhoHasAKeyMayCall) {
  FakeServer server(
      {.yaml = Yaml(Entry("one", "acme") + Entry("old", "acme", ", expires: 2020-01-01T00:00:00Z") +
                    Entry("new", "acme", ", expires: 2999-01-01T00:00:00Z"))});
  EXPECT_EQ(CodeOf(server, "one"), grpc::OK);
  EXPECT_EQ(CodeOf(server, "new"), grpc::OK);
  const auto text = [&](const std::function<void(grpc::ClientContext&)>& prepare) {
    const grpc::Status status = server.Generate(Prompt("5 6 7", 2), prepare).status;
    EXPECT_EQ(status.error_code(), grpc::UNAUTHENTICATED);
    return status.error_message();
  };
  EXPECT_THAT(text({}), HasSubstr("missing"));
  EXPECT_THAT(text(With("one")), HasSubstr("missing")) << "without its scheme";
  EXPECT_THAT(text(With("Bearer two")), HasSubstr("unknown"));
  EXPECT_THAT(text(With("Bearer ")), HasSubstr("unknown"));
  EXPECT_THAT(text(With("Bearer " + HashOf("one"))), HasSubstr("unknown")) << "the hash is no key";
  EXPECT_THAT(text(With("Bearer old")), HasSubstr("expired"));
  EXPECT_EQ(server.Generate(Prompt("5 6 7", 2), With("bearer one")).status.error_code(), grpc::OK);
  const std::string refusals = "skipstone_api_key_refusals_total";
  EXPECT_EQ(server.Metric(refusals, {"reason=\"missing\""}), 2);
  EXPECT_EQ(server.Metric(refusals, {"reason=\"unknown\""}), 3);
  EXPECT_EQ(server.Metric(refusals, {"reason=\"expired\""}), 1);
}

// All calls but Generate, of which it says the code.
template <class Request, class Response>
grpc::StatusCode Call(FakeServer& server, const std::string& key,
                      grpc::Status (v1::Inference::Stub::*call)(grpc::ClientContext*,
                                                                const Request&, Response*),
                      const Request& request = {}) {
  grpc::ClientContext context;
  if (!key.empty()) context.AddMetadata("authorization", "Bearer " + key);
  Response response;
  return (server.stub().*call)(&context, request, &response).error_code();
}

TEST(ApiKeysTest, EveryCallNeedsOneAndHealthDoesNot) {
  using Stub = v1::Inference::Stub;
  FakeServer server({.yaml = Yaml(Entry("one", "acme"))});
  v1::TokenizeRequest tokenize;
  tokenize.set_text("5 6");
  v1::DetokenizeRequest detokenize;
  detokenize.add_ids(5);
  v1::ScoreRequest score;
  score.add_items()->mutable_prompt()->set_text("5 6 7");
  for (const std::string key : {"", "wrong", "one"}) {
    const auto code = key == "one" ? grpc::OK : grpc::UNAUTHENTICATED;
    EXPECT_EQ(Call(server, key, &Stub::GetModel), code) << key;
    EXPECT_EQ(Call(server, key, &Stub::GetLoad), code) << key;
    EXPECT_EQ(Call(server, key, &Stub::Abort), code) << key;
    EXPECT_EQ(Call(server, key, &Stub::Tokenize, tokenize), code) << key;
    EXPECT_EQ(Call(server, key, &Stub::Detokenize, detokenize), code) << key;
    EXPECT_EQ(Call(server, key, &Stub::Score, score), code) << key;
    Streaming stream(server.stub(), Prompt("5 6 7", 2), [&](grpc::ClientContext& context) {
      if (!key.empty()) context.AddMetadata("authorization", "Bearer " + key);
    });
    EXPECT_EQ(stream.ReadAll().error_code(), code) << key;
  }
  EXPECT_TRUE(server.server().CheckEngine().ok());
}

TEST(ApiKeysTest, AKeyBoundsWhatIsChosen) {
  FakeServer server(
      {.yaml = Yaml(Entry("named", "a", ", levels: [full, half]") +
                    Entry("little", "b", ", max_skipped_attention: 2") + Entry("free", "c"))});
  EXPECT_EQ(CodeOf(server, "named", AtLevel("half")), grpc::OK);
  EXPECT_EQ(CodeOf(server, "named", AtLevel("most")), grpc::PERMISSION_DENIED);
  v1::GenerateRequest own = Prompt("5 6 7", 2);
  own.mutable_skip()->set_spec("attn:0");
  EXPECT_EQ(CodeOf(server, "named", own), grpc::PERMISSION_DENIED) << "a set of its own";
  EXPECT_EQ(CodeOf(server, "named"), grpc::OK) << "the operator's default";
  EXPECT_EQ(CodeOf(server, "little", AtLevel("half")), grpc::OK);
  EXPECT_EQ(CodeOf(server, "little", AtLevel("most")), grpc::PERMISSION_DENIED);
  EXPECT_EQ(CodeOf(server, "little", own), grpc::OK);
  v1::GenerateRequest ceiling = AtLevel("full");
  ceiling.mutable_skip()->mutable_adaptive()->set_ceiling_level("most");
  EXPECT_EQ(CodeOf(server, "little", ceiling), grpc::PERMISSION_DENIED) << "under load";
  EXPECT_EQ(CodeOf(server, "named", ceiling), grpc::PERMISSION_DENIED) << "a name not its own";
  ceiling.mutable_skip()->clear_choice();
  EXPECT_EQ(CodeOf(server, "little", ceiling), grpc::PERMISSION_DENIED) << "over the default";
  EXPECT_EQ(CodeOf(server, "named", ceiling), grpc::PERMISSION_DENIED) << "over the default";
  ceiling.mutable_skip()->mutable_adaptive()->set_ceiling_level("half");
  EXPECT_EQ(CodeOf(server, "named", ceiling), grpc::OK);
  EXPECT_EQ(CodeOf(server, "little", ceiling), grpc::OK);
  ceiling.mutable_skip()->mutable_adaptive()->set_ceiling_spec("attn:last=2");
  EXPECT_EQ(CodeOf(server, "named", ceiling), grpc::PERMISSION_DENIED) << "a set of its own";
  EXPECT_EQ(CodeOf(server, "free", AtLevel("most")), grpc::OK);
}

TEST(ApiKeysTest, WhoHasUsedUpHisShareIsToldWhenToComeBack) {
  FakeServer server(
      {.yaml = Yaml(Entry("calls", "a", ", requests_per_minute: 3") +
                    Entry("words", "b", ", tokens_per_minute: 8") + Entry("free", "c"))});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(CodeOf(server, "calls"), grpc::OK);
  const auto fourth = server.Generate(Prompt("5 6 7", 2), With("Bearer calls"));
  EXPECT_EQ(fourth.status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_THAT(fourth.status.error_message(), HasSubstr("requests"));
  const int wait = std::stoi(fourth.trailing.at("grpc-retry-pushback-ms"));
  EXPECT_GE(wait, 1);
  EXPECT_LE(wait, 20000);
  // Three tokens of prompt and two of output, each time; the second may take more than is left.
  EXPECT_EQ(CodeOf(server, "words"), grpc::OK);
  EXPECT_EQ(CodeOf(server, "words"), grpc::OK);
  const auto third = server.Generate(Prompt("5 6 7", 2), With("Bearer words"));
  EXPECT_EQ(third.status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_THAT(third.status.error_message(), HasSubstr("tokens"));
  EXPECT_EQ(CodeOf(server, "free"), grpc::OK);
  EXPECT_EQ(server.Metric("skipstone_api_key_refusals_total", {"reason=\"quota\""}), 2);
}

TEST(ApiKeysTest, WhatEachTenantCostsAddsUpToAllThatIsDone) {
  FakeServer server({.yaml = Yaml(Entry("a", "acme") + Entry("b", "beta")),
                     .step_time = std::chrono::milliseconds(5)});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(CodeOf(server, "a"), grpc::OK);
  EXPECT_EQ(server.Generate(Prompt("5 6 7 8", 9), With("Bearer b")).status.error_code(), grpc::OK);
  const auto of = [&](const std::string& what, const std::string& tenant) {
    return server.Metric("skipstone_tenant_" + what, {"tenant=\"" + tenant + "\""});
  };
  EXPECT_EQ(of("prompt_tokens_total", "acme"), 4 * 3);
  EXPECT_EQ(of("generation_tokens_total", "acme"), 4 * 2);
  EXPECT_EQ(of("prompt_tokens_total", "beta"), 4);
  EXPECT_EQ(of("generation_tokens_total", "beta"), 9);
  const double busy = server.Metric("skipstone_step_duration_seconds_sum");
  EXPECT_NEAR(server.Metric("skipstone_tenant_attributed_seconds_total"), busy, 0.01 * busy);
  // One to three blocks of four layers are held for nine steps.
  const double page_seconds = of("kv_page_seconds_total", "beta");
  EXPECT_GE(page_seconds, 9 * 4 * 0.005);
  EXPECT_LE(page_seconds, 4 * 4 * of("attributed_seconds_total", "beta"));
}

TEST(ApiKeysTest, WithoutKeysAllCostIsOfOthers) {
  FakeServer server({.yaml = "fair_share: metadata:x-tenant-id"});
  const auto name = [](grpc::ClientContext& context) {
    context.AddMetadata("x-tenant-id", "made up");
  };
  EXPECT_TRUE(server.Generate(Prompt("5 6 7", 2), name).status.ok());
  EXPECT_EQ(server.Metric("skipstone_tenant_generation_tokens_total"), 2);
  EXPECT_EQ(server.Metric("skipstone_tenant_generation_tokens_total", {"tenant=\"other\""}), 2)
      << "clients make up names without end";
}

TEST(ApiKeysTest, ATenantAbortsItsOwnAndAnAdminAll) {
  FakeServer server(Endless(Yaml(Entry("a", "a") + Entry("a2", "a") + Entry("b", "b") +
                                 Entry("root", "ops", ", role: admin"))));
  const auto start = [&](const std::string& id) {
    v1::GenerateRequest request = Prompt("5 6 7", 50000);
    request.set_request_id(id);
    auto stream = std::make_unique<Streaming>(server.stub(), request, With("Bearer a"));
    EXPECT_TRUE(stream->Read());
    return stream;
  };
  const auto aborted = [&](const std::string& key, const std::string& id) {
    grpc::ClientContext context;
    With("Bearer " + key)(context);
    v1::AbortRequest request;
    request.add_request_ids(id);
    v1::AbortResponse response;
    EXPECT_TRUE(server.stub().Abort(&context, request, &response).ok());
    return response.aborted_size() == 1;
  };
  const auto first = start("first"), second = start("second");
  EXPECT_FALSE(aborted("b", "first"));
  EXPECT_TRUE(aborted("a2", "first")) << "by another key of the tenant";
  EXPECT_TRUE(aborted("root", "second"));
}

TEST(ApiKeysTest, AReloadRevokesAndKeepsWhatIsLeft) {
  const std::string limited = Entry("kept", "a", ", requests_per_minute: 2");
  FakeServer server({.yaml = Yaml(limited + Entry("gone", "b"))});
  EXPECT_EQ(CodeOf(server, "gone"), grpc::OK);
  EXPECT_EQ(CodeOf(server, "kept"), grpc::OK);
  ASSERT_TRUE(server.Reload(Yaml(limited + Entry("added", "c"))).ok());
  EXPECT_EQ(CodeOf(server, "gone"), grpc::UNAUTHENTICATED);
  EXPECT_EQ(CodeOf(server, "added"), grpc::OK);
  EXPECT_EQ(CodeOf(server, "kept"), grpc::OK);
  EXPECT_EQ(CodeOf(server, "kept"), grpc::RESOURCE_EXHAUSTED) << "of the two, one was used before";
  const std::string wrong = Entry("kept", "a", ", requests_per_minute: 9, levels: [none-such]");
  EXPECT_FALSE(server.Reload(Yaml(wrong)).ok());
  EXPECT_EQ(CodeOf(server, "kept"), grpc::RESOURCE_EXHAUSTED);
}

TEST(ApiKeysTest, TenThousandCallsWithKeysOfAllKinds) {
  FakeServer server(
      {.yaml = Yaml(Entry("good", "a") + Entry("old", "b", ", expires: 2020-01-01T00:00:00Z") +
                    Entry("used", "c", ", requests_per_minute: 0.001"))});
  EXPECT_EQ(CodeOf(server, "used"), grpc::OK);
  const std::vector<std::pair<std::string, grpc::StatusCode>> kinds = {
      {"wrong", grpc::UNAUTHENTICATED},
      {"old", grpc::UNAUTHENTICATED},
      {"used", grpc::RESOURCE_EXHAUSTED},
      {"good", grpc::OK}};
  std::atomic<int> unexpected{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([&] {
      for (int i = 0; i < 2500; ++i) {
        const auto& [key, code] = kinds[i % kinds.size()];
        unexpected += CodeOf(server, key) != code;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(unexpected, 0);
  EXPECT_EQ(server.Outcomes("ok"), 2501);
  EXPECT_EQ(server.Metric("skipstone_num_requests_running"), 0);
}

TEST(ApiKeysTest, WrongEntriesAreNamed) {
  const auto error = [](const std::string& entries) {
    ServerConfig config;
    absl::Status status = ReadConfigText(Yaml(entries), "test.yaml", config);
    if (status.ok()) {
      const auto levels = Levels::Make(config, 4, 64);
      EXPECT_TRUE(levels.ok()) << levels.status();
      status = ApiKeys::Make(config.keys, *levels, nullptr).status();
    }
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << entries;
    return std::string(status.message());
  };
  EXPECT_THAT(error("- {tenant: acme}\n"), HasSubstr("a tenant and a sha256"));
  EXPECT_THAT(error("- {tenant: acme, sha256: abc}\n"), HasSubstr("acme: sha256: 64 hex"));
  EXPECT_THAT(error("- {tenant: acme, sha256: " + std::string(64, 'x') + "}\n"),
              HasSubstr("64 hex"));
  EXPECT_THAT(error(Entry("one", "acme") + Entry("one", "other")), HasSubstr("another key has it"));
  EXPECT_THAT(error(Entry("one", "other")), HasSubstr("all that have no key"));
  EXPECT_THAT(error(Entry("one", "acme", ", levels: [deep]")), HasSubstr("no level 'deep'"));
  EXPECT_THAT(error(Entry("one", "acme", ", expires: tomorrow")), HasSubstr("expires"));
  EXPECT_THAT(error(Entry("one", "acme", ", role: king")), HasSubstr("role"));
  EXPECT_THAT(error(Entry("one", "acme", ", requests_per_minute: -1")),
              HasSubstr("requests_per_minute"));
  EXPECT_THAT(error(Entry("one", "acme", ", max_skipped_attention: 101%")),
              HasSubstr("acme: max_skipped_attention"));
  EXPECT_THAT(error(Entry("one", "acme", ", secret: one")), HasSubstr("secret"));
}

}  // namespace
}  // namespace skipstone::server
