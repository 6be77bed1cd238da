// A server that has answered many requests holds no more memory than one that has answered some.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/integration/request_batch.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

#ifdef __SANITIZE_ADDRESS__
// Its allocator takes longer until every thread has what it keeps.
constexpr int kLeastScale = 2;
#else
constexpr int kLeastScale = 1;
#endif

// The soak sets it to 10: 50,000 requests.
int Scale() {
  const char* scale = std::getenv("SKIPSTONE_MEMORY_SCALE");
  return scale != nullptr ? std::max(kLeastScale, std::atoi(scale)) : kLeastScale;
}

int64_t ResidentKiB(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string key;
  while (status >> key) {
    int64_t kib = 0;
    if (key == "VmRSS:" && status >> kib) return kib;
  }
  return -1;
}

// Refused, cancelled, streamed, scored: a bit of everything.
void SendMixed(v1::Inference::Stub& stub, uint32_t number) {
  v1::GenerateRequest request = RandomRequests(1, {"none", "attn:last=50%"}, 2048, number)[0];
  request.mutable_stopping()->set_max_tokens(1 + number % 3);
  grpc::ClientContext context;
  if (number % 16 == 0) request.set_n(100);
  if (number % 4 == 1) {
    const auto stream = stub.GenerateStream(&context, request);
    v1::GenerateEvent event;
    for (int left = number % 32 == 1 ? 1 : 1000; left > 0 && stream->Read(&event);) --left;
    context.TryCancel();
    while (stream->Read(&event)) {
    }
    stream->Finish();
    return;
  }
  v1::GenerateResponse response;
  const grpc::Status status = stub.Generate(&context, request, &response);
  EXPECT_EQ(status.ok(), number % 16 != 0) << status.error_message();
}

// Under the address sanitizer the server keeps 256 MiB of what it freed, and each stack that
// allocated: neither is memory of ours.
void LetTheSanitizerKeepNothing() {
  const char* options = std::getenv("ASAN_OPTIONS");
  const std::string all = std::string(options != nullptr ? options : "") +
                          ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0"
                          ":malloc_context_size=1:allocator_release_to_os_interval_ms=500";
  setenv("ASAN_OPTIONS", all.c_str(), 1);
}

TEST(MemoryTest, StaysWhereItIs) {
  LetTheSanitizerKeepNothing();
  const auto server =
      ServerProcess::Start({"--model=" + DemoModelDir(), "--kv_pages=2000", "--log_level=error"});
  ASSERT_NE(server, nullptr);
  const auto stub = Connect(server->grpc_address());
  const auto send = [&](uint32_t from, uint32_t to) {
    std::atomic<uint32_t> next = from;
    std::vector<std::thread> clients;
    for (int client = 0; client < 16; ++client) {
      clients.emplace_back([&] {
        for (uint32_t i = next++; i < to; i = next++) SendMixed(*stub, i);
      });
    }
    for (std::thread& client : clients) client.join();
  };
  const uint32_t requests = 5000 * Scale();
  // The first 10000 bring every thread's buffers; a short run has to do with half of its requests.
  const uint32_t first = std::min(requests / 2, 10000u);
  send(0, first);
  const int64_t after_first = ResidentKiB(server->pid());
  send(first, requests);
  const int64_t after_all = ResidentKiB(server->pid());
  RecordProperty("kib_after_first", static_cast<int>(after_first));
  RecordProperty("kib_after_all", static_cast<int>(after_all));
  ASSERT_GT(after_first, 0);
  EXPECT_LE(after_all - after_first, 1024) << after_first << " KiB, later " << after_all << " KiB";
}

}  // namespace
}  // namespace skipstone
