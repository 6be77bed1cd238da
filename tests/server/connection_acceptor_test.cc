#include "server/connection_acceptor.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/support/tcp_client.h"

namespace skipstone::server {
namespace {

// An acceptor whose connections are kept until Drop.
class ConnectionAcceptorTest : public testing::Test {
 protected:
  explicit ConnectionAcceptorTest(const std::string& address = "127.0.0.1:0") {
    auto acceptor = ConnectionAcceptor::Listen(address);
    EXPECT_TRUE(acceptor.ok()) << acceptor.status();
    acceptor_ = *std::move(acceptor);
  }
  void Start(int max_connections) {
    acceptor_->Start(max_connections, [this](int fd, bool own) {
      MutexLock lock(mutex_);
      own_ += own;
      kept_.emplace_back(fd);
    });
  }
  std::unique_ptr<TcpClient> Connect() {
    auto client = std::make_unique<TcpClient>();
    EXPECT_TRUE(client->Connect(absl::StrFormat("127.0.0.1:%d", acceptor_->port())));
    return client;
  }
  int owned() {
    MutexLock lock(mutex_);
    return own_;
  }
  int kept() {
    MutexLock lock(mutex_);
    return static_cast<int>(kept_.size());
  }
  std::vector<int> kept_fds() {
    MutexLock lock(mutex_);
    std::vector<int> fds;
    for (const UniqueFd& fd : kept_) fds.push_back(fd.get());
    return fds;
  }
  void Drop() {
    MutexLock lock(mutex_);
    kept_.clear();
  }

  std::unique_ptr<ConnectionAcceptor> acceptor_;

 private:
  Mutex mutex_;
  int own_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<UniqueFd> kept_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(ConnectionAcceptorTest, ClosesConnectionsBeyondTheLimit) {
  Start(/*max_connections=*/2);
  const auto a = Connect();
  const auto b = Connect();
  ASSERT_TRUE(Eventually([&] { return kept() == 2; }));
  EXPECT_EQ(Connect()->ReceiveAll(), "") << "closed at once";
  EXPECT_EQ(kept(), 2);
  EXPECT_EQ(acceptor_->open_connections(), 2);
  EXPECT_EQ(acceptor_->refused_connections(), 1);
}

TEST_F(ConnectionAcceptorTest, KnowsTheSocketOfAPeer) {
  Start(/*max_connections=*/2);
  const auto a = Connect();
  const auto b = Connect();
  ASSERT_TRUE(Eventually([&] { return kept() == 2; }));
  std::vector<std::string> peers;
  for (const int fd : kept_fds()) {
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    ASSERT_EQ(getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size), 0);
    peers.push_back(absl::StrFormat("ipv4:127.0.0.1:%d", ntohs(peer.sin_port)));
    EXPECT_EQ(acceptor_->SocketOf(peers.back()), fd);
  }
  EXPECT_EQ(acceptor_->SocketOf("ipv4:127.0.0.1:1"), -1);
  EXPECT_EQ(acceptor_->SocketOf("unix:"), -1);
  Drop();
  EXPECT_EQ(acceptor_->open_connections(), 0);
  for (const std::string& peer : peers) EXPECT_EQ(acceptor_->SocketOf(peer), -1) << "closed";
}

TEST_F(ConnectionAcceptorTest, ClosedConnectionsMakeRoom) {
  Start(/*max_connections=*/2);
  for (int round = 1; round <= 5; ++round) {
    const auto a = Connect();
    const auto b = Connect();
    ASSERT_TRUE(Eventually([&] { return kept() == 2; })) << round;
    Drop();
    EXPECT_EQ(acceptor_->open_connections(), 0);
  }
  EXPECT_EQ(acceptor_->refused_connections(), 0);
}

// The number of a closed connection's descriptor goes to the next file of whatever kind.
TEST_F(ConnectionAcceptorTest, AnotherFileWithTheSameNumberIsNoConnection) {
  Start(/*max_connections=*/1);
  const auto client = Connect();
  ASSERT_TRUE(Eventually([&] { return kept() == 1; }));
  Drop();
  std::vector<UniqueFd> files;
  for (int i = 0; i < 20; ++i) files.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(acceptor_->open_connections(), 0);
}

TEST_F(ConnectionAcceptorTest, ItsOwnConnectionIsTakenWhateverTheLimit) {
  Start(/*max_connections=*/1);
  const auto other = Connect();
  ASSERT_TRUE(Eventually([&] { return kept() == 1; }));
  const auto own = acceptor_->ConnectToSelf();
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_TRUE(Eventually([&] { return kept() == 2; }));
  EXPECT_EQ(owned(), 1);
}

TEST_F(ConnectionAcceptorTest, NothingListensAfterStop) {
  Start(/*max_connections=*/1);
  acceptor_->Stop();
  EXPECT_FALSE(TcpClient().Connect(absl::StrFormat("127.0.0.1:%d", acceptor_->port())));
  EXPECT_FALSE(acceptor_->ConnectToSelf().ok());
}

class WildcardAcceptorTest : public ConnectionAcceptorTest {
 protected:
  WildcardAcceptorTest() : ConnectionAcceptorTest("[::]:0") {}
};

TEST_F(WildcardAcceptorTest, ReachesItself) {
  Start(/*max_connections=*/1);
  const auto own = acceptor_->ConnectToSelf();
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_TRUE(Eventually([&] { return kept() == 1; }));
  EXPECT_EQ(owned(), 1);
}

}  // namespace
}  // namespace skipstone::server
