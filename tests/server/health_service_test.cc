#include "server/health_service.h"

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

constexpr auto kServing = HealthCheckResponse::SERVING;
constexpr auto kNotServing = HealthCheckResponse::NOT_SERVING;

class HealthClient {
 public:
  explicit HealthClient(FakeServer& server) : stub_(Health::NewStub(server.channel())) {}

  HealthCheckResponse::ServingStatus Check(const std::string& service) {
    grpc::ClientContext context;
    HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    const grpc::Status status = stub_->Check(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.status();
  }
  Health::Stub& stub() { return *stub_; }

 private:
  const std::unique_ptr<Health::Stub> stub_;
};

class Watching {
 public:
  Watching(HealthClient& client, const std::string& service) {
    HealthCheckRequest request;
    request.set_service(service);
    reader_ = client.stub().Watch(&context_, request);
  }
  ~Watching() {
    context_.TryCancel();
    HealthCheckResponse ignored;
    while (reader_->Read(&ignored)) {
    }
    reader_->Finish();
  }
  // The next status that is sent; UNKNOWN at the end.
  HealthCheckResponse::ServingStatus Next() {
    HealthCheckResponse response;
    return reader_->Read(&response) ? response.status() : HealthCheckResponse::UNKNOWN;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader_;
};

TEST(HealthServiceTest, ChangesFromLoadingToServingToDraining) {
  FakeServer server({.serve = false});
  HealthClient client(server);
  EXPECT_EQ(client.Check(kLivenessService), kNotServing);
  EXPECT_EQ(client.Check(kReadinessService), kNotServing);
  server.Serve();
  EXPECT_EQ(client.Check(kLivenessService), kServing);
  EXPECT_EQ(client.Check(kReadinessService), kServing);
  server.server().AnnounceDrain();
  EXPECT_EQ(client.Check(kLivenessService), kServing) << "a draining server must not be killed";
  EXPECT_EQ(client.Check(kReadinessService), kNotServing);
}

TEST(HealthServiceTest, KnowsNoOtherService) {
  FakeServer server;
  HealthClient client(server);
  grpc::ClientContext context;
  HealthCheckRequest request;
  request.set_service("skipstone.v1.Other");
  HealthCheckResponse response;
  EXPECT_EQ(client.stub().Check(&context, request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
  Watching other(client, "skipstone.v1.Other");
  EXPECT_EQ(other.Next(), HealthCheckResponse::SERVICE_UNKNOWN);
}

TEST(HealthServiceTest, WatchTellsEachChange) {
  FakeServer server({.serve = false});
  HealthClient client(server);
  Watching readiness(client, kReadinessService);
  Watching liveness(client, kLivenessService);
  EXPECT_EQ(readiness.Next(), kNotServing);
  EXPECT_EQ(liveness.Next(), kNotServing);
  server.Serve();
  EXPECT_EQ(readiness.Next(), kServing);
  EXPECT_EQ(liveness.Next(), kServing);
  server.server().AnnounceDrain();
  EXPECT_EQ(readiness.Next(), kNotServing);
  EXPECT_TRUE(server.server().Drain(/*now=*/false)) << "a Watch does not hold up the drain";
  EXPECT_EQ(liveness.Next(), HealthCheckResponse::UNKNOWN) << "the stream ends";
}

TEST(HealthServiceTest, ADeviceErrorIsTheEnd) {
  FakeServer server;
  HealthClient client(server);
  Watching liveness(client, kLivenessService);
  EXPECT_EQ(liveness.Next(), kServing);
  server.runner().FailSteps();
  EXPECT_EQ(server.Generate(Prompt("5", 2)).status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_TRUE(absl::IsInternal(server.server().CheckEngine()));
  EXPECT_EQ(liveness.Next(), kNotServing);
  EXPECT_EQ(client.Check(kReadinessService), kNotServing);
}

TEST(HealthServiceTest, AStalledStepIsNotAliveUntilItEnds) {
  FakeServer server({.stall_timeout = std::chrono::milliseconds(20)});
  HealthClient client(server);
  server.gate().Close();
  Streaming running(server.stub(), Prompt("5", 2));
  server.gate().WaitArrivals(1);
  ASSERT_TRUE(Eventually([&] { return absl::IsUnavailable(server.server().CheckEngine()); }));
  EXPECT_EQ(client.Check(kLivenessService), kNotServing);
  EXPECT_EQ(client.Check(kReadinessService), kNotServing);
  server.gate().Open();
  EXPECT_TRUE(running.ReadAll().ok());
  ASSERT_TRUE(Eventually([&] { return server.server().CheckEngine().ok(); }));
  EXPECT_EQ(client.Check(kLivenessService), kServing);
  EXPECT_EQ(client.Check(kReadinessService), kServing);
}

}  // namespace
}  // namespace skipstone::server
