#include "client/status.h"

#include "absl/strings/cord.h"
#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

TEST(StatusTest, EveryCodeKeepsItsNumberAndMessage) {
  EXPECT_TRUE(ToAbslStatus(grpc::Status::OK).ok());
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status =
        ToAbslStatus(grpc::Status(static_cast<grpc::StatusCode>(code), "because"));
    EXPECT_EQ(status.raw_code(), code);
    EXPECT_EQ(status.message(), "because");
  }
  EXPECT_EQ(ToAbslStatus(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "")).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(StatusTest, DetailsBecomeAPayload) {
  const std::string details(
      "\0\xff"
      "detail",
      8);
  const absl::Status status =
      ToAbslStatus(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "bad", details));
  EXPECT_EQ(status.GetPayload("grpc-status-details-bin"), absl::Cord(details));
  EXPECT_EQ(ToAbslStatus(grpc::Status(grpc::StatusCode::ABORTED, ""))
                .GetPayload("grpc-status-details-bin"),
            absl::nullopt);
}

}  // namespace
}  // namespace skipstone::client
