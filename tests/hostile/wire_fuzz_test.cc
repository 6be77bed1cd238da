// Random messages and random HTTP/2 frames to a server on loopback: whatever comes, it answers with
// a status that says what was wrong, and afterwards serves as before and holds no page.
#include <arpa/inet.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "gtest/gtest.h"
#include "tests/fuzz/mutator.h"
#include "tests/hostile/wire_seeds.h"
#include "tests/integration/request_batch.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

// The soak sets it to 50: a million messages, a million frames.
int Scale() {
  const char* scale = std::getenv("SKIPSTONE_HOSTILE_SCALE");
  return scale != nullptr ? std::max(1, std::atoi(scale)) : 1;
}

class WireFuzzTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ =
        ServerProcess::Start({"--model=" + DemoModelDir(), "--kv_pages=2000", "--log_level=error"});
    ASSERT_NE(server_, nullptr);
    stub_ = Connect(server_->grpc_address());
    bits_ = Bits(Generate(*stub_, probe_));
  }

  // Nothing of what came is left, and the same request gives the same bits.
  void ExpectServesAsBefore() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    v1::GetLoadResponse load;
    do {
      grpc::ClientContext context;
      const grpc::Status status = stub_->GetLoad(&context, {}, &load);
      ASSERT_TRUE(status.ok()) << status.error_message();
    } while (load.running() + load.waiting() > 0 && std::chrono::steady_clock::now() < end);
    EXPECT_EQ(load.running() + load.waiting(), 0u);
    EXPECT_EQ(load.kv_pages_used(), 0u);
    EXPECT_EQ(load.kv_pages_free() + load.kv_pages_cached(), 2000u);
    EXPECT_EQ(Bits(Generate(*stub_, probe_)), bits_);
    EXPECT_EQ(server_->Metric("skipstone_requests_total", {"outcome=\"error\""}), 0);
  }

  const v1::GenerateRequest probe_ = RandomRequests(1, {"none"}, 2048, 9)[0];
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<v1::Inference::Stub> stub_;
  std::string bits_;
};

// Calls that are under way at once, and what became of them.
class Calls {
 public:
  explicit Calls(const std::string& address)
      : stub_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())) {}

  void Start(const std::string& path, const std::string& request) {
    free_.acquire();
    auto* call = new Call;
    // A change may have taken away max_tokens, and this is about what is read, not generated.
    call->context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
    const grpc::Slice slice(request);
    call->request = grpc::ByteBuffer(&slice, 1);
    stub_.UnaryCall(&call->context, path, {}, &call->request, &call->response,
                    [this, call](const grpc::Status& status) {
                      Count(status);
                      delete call;
                      free_.release();
                    });
  }

  void WaitForAll() {
    for (int i = 0; i < kAtOnce; ++i) free_.acquire();
  }

  int ok() const { return ok_; }
  int refused() const { return refused_; }
  // A status that no client should see.
  int strange() const { return strange_; }
  std::string strangest() {
    MutexLock lock(mutex_);
    return strangest_;
  }

 private:
  static constexpr int kAtOnce = 32;
  struct Call {
    grpc::ClientContext context;
    grpc::ByteBuffer request;
    grpc::ByteBuffer response;
  };

  void Count(const grpc::Status& status) {
    switch (status.error_code()) {
      case grpc::StatusCode::OK:
        ++ok_;
        break;
      case grpc::StatusCode::DEADLINE_EXCEEDED:
        break;
      case grpc::StatusCode::INVALID_ARGUMENT:
      case grpc::StatusCode::NOT_FOUND:
      case grpc::StatusCode::ALREADY_EXISTS:
      case grpc::StatusCode::PERMISSION_DENIED:
      case grpc::StatusCode::FAILED_PRECONDITION:
      case grpc::StatusCode::RESOURCE_EXHAUSTED:
        ++refused_;
        if (!status.error_message().empty()) break;
        [[fallthrough]];
      default:
        ++strange_;
        MutexLock lock(mutex_);
        strangest_ = std::to_string(status.error_code()) + ": " + status.error_message();
    }
  }

  grpc::GenericStub stub_;
  std::counting_semaphore<kAtOnce> free_{kAtOnce};
  std::atomic<int> ok_ = 0;
  std::atomic<int> refused_ = 0;
  std::atomic<int> strange_ = 0;
  Mutex mutex_;
  std::string strangest_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(WireFuzzTest, EveryMessageGetsAnAnswerOrAnError) {
  const std::vector<MethodSeeds> methods = UnaryMethodSeeds();
  const uint32_t messages = 20000 * Scale();
  Calls calls(server_->grpc_address());
  for (uint32_t i = 0; i < messages; ++i) {
    // Every eighth message goes to a method that it was not made for.
    const MethodSeeds& method = methods[i % methods.size()];
    const MethodSeeds& source = i % 8 == 0 ? methods[(i / 8) % methods.size()] : method;
    calls.Start(method.path, Mutator(source.seeds, i).Input());
  }
  calls.WaitForAll();
  RecordProperty("ok", calls.ok());
  RecordProperty("refused", calls.refused());
  EXPECT_EQ(calls.strange(), 0) << calls.strangest();
  EXPECT_GT(calls.ok(), static_cast<int>(messages / 20));
  EXPECT_GT(calls.refused(), static_cast<int>(messages / 10));
  ExpectServesAsBefore();
}

// Sends `bytes` on a connection of its own and reads what comes back until there is nothing more
// for some milliseconds or the peer hangs up.
void SendSession(const sockaddr_in& address, const std::string& bytes) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(fd, 0);
  // Reset at the close: else the local port of each of a hundred thousand is taken for a minute.
  const linger reset = {.l_onoff = 1};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) break;  // it hung up, as it may
    sent += static_cast<size_t>(n);
  }
  char buffer[4096];
  pollfd readable = {.fd = fd, .events = POLLIN};
  while (poll(&readable, 1, 2) == 1 && recv(fd, buffer, sizeof(buffer), 0) > 0) {
  }
  close(fd);
}

TEST_F(WireFuzzTest, NoFrameHarmsOthers) {
  constexpr int kFramesPerSession = 10;  // about: seeds have 3 to 20
  constexpr int kClients = 4;
  const std::string& grpc = server_->grpc_address();
  sockaddr_in address = {.sin_family = AF_INET};
  address.sin_port = htons(std::stoi(grpc.substr(grpc.rfind(':') + 1)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const FuzzSeeds seeds = SessionSeeds();
  const uint32_t sessions = 20000 * Scale() / kFramesPerSession;
  std::atomic<uint32_t> next = 0;
  std::vector<std::thread> clients;
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([&] {
      for (uint32_t i = next++; i < sessions; i = next++) {
        SendSession(address, Mutator(seeds, i).Input());
      }
    });
  }
  for (std::thread& client : clients) client.join();
  ExpectServesAsBefore();
}

}  // namespace
}  // namespace skipstone
