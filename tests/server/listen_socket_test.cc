#include "server/listen_socket.h"

#include <string>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/tcp_client.h"

namespace skipstone::server {
namespace {

bool Reaches(const std::string& host, int port) {
  return TcpClient().Connect(absl::StrFormat("%s:%d", host, port));
}

TEST(ListenSocketTest, TakesBracketsOffAnIpv6Host) {
  EXPECT_EQ(SplitAddress("[::1]:5").host, "::1");
  EXPECT_EQ(SplitAddress("[::1]:5").port, "5");
  EXPECT_EQ(SplitAddress("localhost:0").host, "localhost");
}

TEST(ListenSocketTest, KnowsLoopback) {
  for (const char* address : {"127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
  for (const char* address : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1"}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

TEST(ListenSocketTest, ListensOnEveryAddressOfTheHost) {
  struct Case {
    const char* address;
    bool ipv4;
    bool ipv6;
  };
  const bool has_ipv6 = ListenOn("[::1]:0").ok();
  for (const Case& c : {Case{"127.0.0.1:0", true, false}, Case{"[::1]:0", false, true},
                        Case{"0.0.0.0:0", true, true}, Case{"[::]:0", true, true}}) {
    if (!c.ipv4 && !has_ipv6) continue;
    const auto sockets = ListenOn(c.address);
    ASSERT_TRUE(sockets.ok()) << c.address << ": " << sockets.status();
    EXPECT_GT(sockets->port, 0);
    EXPECT_EQ(Reaches("127.0.0.1", sockets->port), c.ipv4) << c.address;
    EXPECT_EQ(Reaches("[::1]", sockets->port), c.ipv6 && has_ipv6) << c.address;
  }
}

TEST(ListenSocketTest, APortIsTakenOnce) {
  const auto first = ListenOn("0.0.0.0:0");
  ASSERT_TRUE(first.ok());
  for (const char* host : {"0.0.0.0", "127.0.0.1", "[::]"}) {
    const auto second = ListenOn(absl::StrFormat("%s:%d", host, first->port));
    EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable) << host;
    EXPECT_THAT(std::string(second.status().message()), testing::HasSubstr("in use")) << host;
  }
}

TEST(ListenSocketTest, SaysWhyAnAddressCannotBeBound) {
  EXPECT_EQ(ListenOn("203.0.113.1:0").status().message(), "Cannot assign requested address");
  EXPECT_EQ(ListenOn("not a host:0").status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace skipstone::server
