#include "client/call_options.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using testing::HasSubstr;

absl::Status ValidateMetadata(const std::string& key, const std::string& value) {
  CallOptions options;
  options.metadata = {{"x-user-id", "42"}, {key, value}};
  return Validate(options);
}

TEST(CallOptionsTest, MetadataThatCanBeSentIsValid) {
  EXPECT_TRUE(Validate(CallOptions()).ok());
  EXPECT_TRUE(ValidateMetadata("x-user_id.2", " printable ~ ASCII ").ok());
  EXPECT_TRUE(ValidateMetadata("x-user", "").ok());
  EXPECT_TRUE(ValidateMetadata("trace-bin", std::string("\0\n\xff", 3)).ok());
}

TEST(CallOptionsTest, KeysThatCannotBeSentAreNamed) {
  for (const char* key : {"", "X-User", "x user", ":path", "x-\xc3\xa9", "x\n"}) {
    const absl::Status status = ValidateMetadata(key, "1");
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << key;
  }
  EXPECT_THAT(std::string(ValidateMetadata("X-User", "1").message()), HasSubstr("\"X-User\""));
}

TEST(CallOptionsTest, ValuesThatCannotBeSentAreNamed) {
  for (const char* value : {"Zo\xc3\xab", "a\nb", "\x7f", "\x01"}) {
    const absl::Status status = ValidateMetadata("x-name", value);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << value;
    EXPECT_THAT(std::string(status.message()), HasSubstr("x-name"));
  }
  EXPECT_THAT(std::string(ValidateMetadata("x-name", "a\nb").message()), HasSubstr("\"a\\nb\""));
}

}  // namespace
}  // namespace skipstone::client
