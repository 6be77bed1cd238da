#include "server/metrics_port.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/listen_socket.h"
#include "tests/server/fake_server.h"
#include "tests/support/gate.h"
#include "tests/support/tcp_client.h"

namespace skipstone::server {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class MetricsPortTest : public testing::Test {
 protected:
  void Open(std::function<std::string()> text, int max_connections = 1000,
            const std::string& host = "127.0.0.1") {
    auto port = MetricsPort::Open(host + ":0", max_connections, std::move(text));
    ASSERT_TRUE(port.ok()) << port.status();
    port_ = *std::move(port);
    address_ = absl::StrFormat("%s:%d", host, port_->port());
  }
  std::string Ask(const std::string& head) const {
    TcpClient client;
    EXPECT_TRUE(client.Connect(address_));
    EXPECT_TRUE(client.Send(head + " HTTP/1.1\r\nHost: here\r\n\r\n"));
    return client.ReceiveAll();
  }
  std::vector<TcpClient> Silent(int count) const {
    std::vector<TcpClient> clients(count);
    for (TcpClient& client : clients) EXPECT_TRUE(client.Connect(address_));
    return clients;
  }

  std::unique_ptr<MetricsPort> port_;
  std::string address_;
};

TEST_F(MetricsPortTest, AnswersAndClosesTheConnection) {
  Open([] { return "a 1\n"; });
  // ReceiveAll ends with the connection.
  EXPECT_THAT(Ask("GET /metrics"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("text/plain; version=0.0.4"),
                    EndsWith("\r\n\r\na 1\n")));
  EXPECT_THAT(Ask("HEAD /metrics"), AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("\r\n\r\n")));
}

TEST_F(MetricsPortTest, RefusesOtherPathsAndMethods) {
  Open([] { return "a 1\n"; });
  EXPECT_THAT(Ask("GET /"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Ask("GET /metrics/../etc"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Ask("POST /metrics"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(Ask("DELETE /metrics"), StartsWith("HTTP/1.1 405 "));
}

TEST_F(MetricsPortTest, SilentConnectionsHoldUpNothing) {
  Open([] { return "a 1\n"; });
  const auto silent = Silent(300);
  std::vector<TcpClient> halfway = Silent(100);
  for (const TcpClient& client : halfway) ASSERT_TRUE(client.Send("GET /met"));
  // A thread for each would be busy until the timeout.
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(Ask("GET /metrics"), EndsWith("a 1\n"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
}

TEST_F(MetricsPortTest, ASilentConnectionIsClosedAfterAWhile) {
  Open([] { return "a 1\n"; }, /*max_connections=*/4);
  const auto silent = Silent(4);
  for (const TcpClient& client : silent) EXPECT_EQ(client.ReceiveAll(), "");
  // A client sees the end of its connection a moment before the port counts one less.
  EXPECT_TRUE(Eventually([&] { return Ask("GET /metrics").ends_with("a 1\n"); }));
}

// A text takes milliseconds: hundreds of scrapers at once would wait for hundreds of them.
TEST_F(MetricsPortTest, ScrapesThatWaitShareAText) {
  Gate gate;
  std::atomic<int> texts = 0;
  Open([&] {
    gate.Pass();
    return absl::StrFormat("texts %d\n", ++texts);
  });
  gate.Close();
  std::vector<TcpClient> scrapers = Silent(200);
  const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
  ASSERT_TRUE(scrapers[0].Send(request));
  gate.WaitArrivals(1);
  for (size_t i = 1; i < scrapers.size(); ++i) ASSERT_TRUE(scrapers[i].Send(request));
  // Requests are read in the order in which they came: this one's head is answered, so all are in.
  EXPECT_THAT(Ask("GET /"), StartsWith("HTTP/1.1 404 "));
  gate.Open();
  EXPECT_THAT(scrapers[0].ReceiveAll(), EndsWith("texts 1\n"));
  for (size_t i = 1; i < scrapers.size(); ++i) {
    EXPECT_THAT(scrapers[i].ReceiveAll(), HasSubstr("texts "));
  }
  EXPECT_LE(texts, 20);
}

TEST_F(MetricsPortTest, ListensOnIpv6) {
  if (!ListenOn("[::1]:0").ok()) GTEST_SKIP() << "no IPv6 here";
  Open([] { return "a 1\n"; }, /*max_connections=*/4, "[::1]");
  EXPECT_THAT(Ask("GET /metrics"), EndsWith("a 1\n"));
}

TEST_F(MetricsPortTest, ClosesWhileScrapesAndSilentConnectionsWait) {
  Gate gate;
  Open([&] {
    gate.Pass();
    return "a 1\n";
  });
  const auto silent = Silent(10);
  gate.Close();
  std::string answer;
  std::thread scraper([&] { answer = Ask("GET /metrics"); });
  gate.WaitArrivals(1);
  std::thread closer([&] { port_.reset(); });
  gate.Open();
  closer.join();
  scraper.join();
  EXPECT_THAT(silent[0].ReceiveAll(), "");
}

}  // namespace
}  // namespace skipstone::server
