#include "client/cli/connection_flags.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using testing::ElementsAre;
using testing::Pair;

absl::StatusOr<CallOptions> Read(const std::vector<std::string>& arguments) {
  ConnectionFlags connection;
  FlagSet flags;
  connection.AddTo(flags);
  const auto rest = flags.Parse(arguments);
  if (!rest.ok()) return rest.status();
  CallOptions options;
  if (absl::Status status = connection.ReadInto(options); !status.ok()) return status;
  return options;
}

TEST(ConnectionFlagsTest, DefaultsAreNoDeadlineAndNoMetadata) {
  const auto options = Read({});
  ASSERT_TRUE(options.ok());
  EXPECT_FALSE(options->timeout.has_value());
  EXPECT_TRUE(options->metadata.empty());
}

TEST(ConnectionFlagsTest, TimeoutIsInMilliseconds) {
  EXPECT_EQ(Read({"--timeout=1.5s"})->timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(Read({"--timeout=2m"})->timeout, std::chrono::minutes(2));
  EXPECT_EQ(Read({"--timeout=inf"})->timeout, std::chrono::milliseconds::max());
  for (const char* bad : {"--timeout=0s", "--timeout=-5ms", "--timeout=-inf"}) {
    EXPECT_EQ(Read({bad}).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(ConnectionFlagsTest, MetadataKeepsOrderAndValues) {
  const auto options = Read({"--metadata=X-A=1", "--metadata=x-a=b=c", "--metadata=t="});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(options->metadata, ElementsAre(Pair("x-a", "1"), Pair("x-a", "b=c"), Pair("t", "")));
}

}  // namespace
}  // namespace skipstone::client
