#include "server/write_batches.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "server/unique_fd.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

using std::chrono::milliseconds;

class WriteBatchesTest : public testing::Test {
 protected:
  WriteBatchesTest() {
    for (UniqueFd& fd : sockets_) {
      fd = UniqueFd(socket(AF_INET, SOCK_STREAM, 0));
      EXPECT_GE(fd.get(), 0);
    }
  }
  int socket_fd(int i = 0) const { return sockets_[i].get(); }
  bool Gathers(int i = 0) const {
    int on = 0;
    socklen_t size = sizeof(on);
    EXPECT_EQ(getsockopt(socket_fd(i), IPPROTO_TCP, TCP_CORK, &on, &size), 0);
    return on != 0;
  }
  Duration AwaitTakes() {
    const Time start = SystemClock().Now();
    batches_.AwaitBatch();
    return SystemClock().Now() - start;
  }
  // The shortest of some: the machine may have other things to do.
  Duration AwaitTakesAtLeast() {
    Duration least = AwaitTakes();
    for (int i = 0; i < 20; ++i) least = std::min(least, AwaitTakes());
    return least;
  }

  WriteBatches batches_{[](const std::string& peer) { return peer == "a" ? 7 : -1; }};

 private:
  UniqueFd sockets_[2];
};

TEST_F(WriteBatchesTest, AskForTheSocketOfAPeer) {
  EXPECT_EQ(batches_.SocketOf("a"), 7);
  EXPECT_EQ(batches_.SocketOf("b"), -1);
}

TEST_F(WriteBatchesTest, GatherWhatGoesToOneConnection) {
  batches_.OnBatch(20);
  batches_.BeforeWrite(socket_fd(0));
  EXPECT_FALSE(Gathers(0)) << "it may be alone";
  for (int i = 0; i < 9; ++i) batches_.BeforeWrite(socket_fd(0));
  batches_.BeforeWrite(socket_fd(1));
  batches_.BeforeWrite(-1);
  EXPECT_TRUE(Gathers(0));
  EXPECT_FALSE(Gathers(1));
  batches_.OnBatchEnd();
  EXPECT_FALSE(Gathers(0));
}

TEST_F(WriteBatchesTest, GatherNothingOutsideOfLargeBatches) {
  for (int i = 0; i < 9; ++i) batches_.BeforeWrite(socket_fd());
  EXPECT_FALSE(Gathers());
  batches_.OnBatch(7);
  for (int i = 0; i < 9; ++i) batches_.BeforeWrite(socket_fd());
  EXPECT_FALSE(Gathers());
  batches_.OnBatchEnd();
  batches_.OnBatch(20);
  std::thread([&] {
    for (int i = 0; i < 9; ++i) batches_.BeforeWrite(socket_fd());
  }).join();
  EXPECT_FALSE(Gathers()) << "another thread's writes are not of the batch";
  batches_.OnBatchEnd();
}

TEST_F(WriteBatchesTest, AwaitTheEndOfTheBatch) {
  EXPECT_LT(AwaitTakesAtLeast(), milliseconds(1)) << "there is none";
  batches_.OnBatch(20);
  EXPECT_LT(AwaitTakesAtLeast(), milliseconds(1)) << "its own thread would wait for itself";
  Duration first{};
  Duration second{};
  std::thread waiter([&] {
    first = AwaitTakes();
    second = AwaitTakesAtLeast();
  });
  waiter.join();
  batches_.OnBatchEnd();
  EXPECT_GE(first, milliseconds(1)) << "the batch did not end before";
  EXPECT_LT(second, first) << "other calls come first";
}

TEST_F(WriteBatchesTest, ABatchThatEndsWakesWhoAwaitsIt) {
  // It waited for a while, and less than it would without an end. What the machine does meanwhile
  // may spoil single attempts.
  constexpr Duration kAWhile = std::chrono::microseconds(100);
  bool woken = false;
  for (int i = 0; i < 1000 && !woken; ++i) {
    batches_.OnBatch(20);
    std::atomic<bool> begun = false;
    Duration waited{};
    std::thread waiter([&] {
      begun = true;
      waited = AwaitTakes();
    });
    while (!begun) {
    }
    std::this_thread::sleep_for(2 * kAWhile);
    batches_.OnBatchEnd();
    waiter.join();
    woken = waited > kAWhile && waited < milliseconds(1);
  }
  EXPECT_TRUE(woken);
}

// Segments with data that have left the server's end of the connections to it in this process.
int64_t SegmentsSentBy(const std::string& address) {
  const auto port = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  int64_t segments = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in local{};
    socklen_t size = sizeof(local);
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) != 0) continue;
    tcp_info info{};
    size = sizeof(info);
    if (ntohs(local.sin_port) != port) continue;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0)
      segments += info.tcpi_data_segs_out;
  }
  return segments;
}

TEST(WriteBatchesServerTest, TheWritesOfAStepLeaveTogether) {
  constexpr int kStreams = 32;
  FakeServer server(
      {.max_batch_tokens = 2 * kStreams, .max_sequences = kStreams, .step_time = milliseconds(2)});
  const std::string address = server.server().grpc_address();
  const int64_t before = SegmentsSentBy(address);
  std::vector<std::unique_ptr<Streaming>> streams;
  for (int i = 0; i < kStreams; ++i) {
    streams.push_back(std::make_unique<Streaming>(server.stub(), Prompt("5", 40)));
  }
  int64_t messages = 0;
  for (const auto& stream : streams) {
    EXPECT_TRUE(stream->ReadAll().ok());
    messages += std::ssize(stream->events());
  }
  EXPECT_GT(messages, 10 * kStreams) << "what this counts";
  EXPECT_LT(2 * (SegmentsSentBy(address) - before), messages);
}

}  // namespace
}  // namespace skipstone::server
