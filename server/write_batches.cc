#include "server/write_batches.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "absl/container/flat_hash_map.h"

namespace skipstone::server {
namespace {

// Fewer are not worth a wait.
constexpr size_t kManyEvents = 8;
// Of one connection: what has gathered leaves, so that the first of a large batch need not wait for
// the last.
constexpr int kWritesPerSegment = 64;
constexpr Duration kLongestWait = std::chrono::milliseconds(1);
// Between two waits of a thread, which has other calls to serve.
constexpr Duration kBetweenWaits = std::chrono::milliseconds(1);

struct Batch {
  bool many = false;
  absl::flat_hash_map<int, int> writes;  // by socket, of this batch
};

Batch& BatchOfThread() {
  thread_local Batch batch;
  return batch;
}

// The kernel sends what gathers without a word after 200 ms at the latest.
void Gather(int socket, bool on) {
  const int value = on ? 1 : 0;
  setsockopt(socket, IPPROTO_TCP, TCP_CORK, &value, sizeof(value));
}

}  // namespace

void WriteBatches::OnBatch(size_t events) {
  if (events < kManyEvents) return;
  BatchOfThread().many = true;
  MutexLock lock(mutex_);
  ++writing_;
}

void WriteBatches::OnBatchEnd() {
  Batch& batch = BatchOfThread();
  if (!batch.many) return;
  for (const auto& [socket, writes] : batch.writes) {
    if (writes > 1) Gather(socket, false);
  }
  batch.writes.clear();
  batch.many = false;
  MutexLock lock(mutex_);
  --writing_;
  written_.NotifyAll();
}

void WriteBatches::BeforeWrite(int socket) {
  Batch& batch = BatchOfThread();
  if (!batch.many || socket < 0) return;
  const int before = batch.writes[socket]++;
  if (before % kWritesPerSegment != 1) return;
  if (before > 1) Gather(socket, false);
  Gather(socket, true);
}

void WriteBatches::AwaitBatch() {
  // Of this very batch, if gRPC handles a completion where the write was started.
  if (writing_ == 0 || BatchOfThread().many) return;
  thread_local Time waited{};
  const Time now = SystemClock().Now();
  if (now - waited < kBetweenWaits) return;
  {
    MutexLock lock(mutex_);
    while (writing_ > 0 && written_.WaitUntil(mutex_, now + kLongestWait)) {
    }
  }
  waited = SystemClock().Now();
}

}  // namespace skipstone::server
