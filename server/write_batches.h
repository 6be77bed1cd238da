// The writes of many streams that one step brings. One at a time, each would be a TCP segment of
// its own and wake a thread of gRPC when it is done, which costs more than the write. So what goes
// to one connection leaves together (TCP_CORK), and gRPC's threads wait with the completions until
// the batch is written, a millisecond at most.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "engine/output_threads.h"

namespace skipstone::server {

// Thread-safe. Batches belong to the thread that announces them.
class WriteBatches : public OutputBatches {
 public:
  // `socket_of`: the descriptor of a connection by gRPC's name of its peer, -1 if there is none.
  explicit WriteBatches(std::function<int(const std::string& peer)> socket_of)
      : socket_of_(std::move(socket_of)) {}

  // What BeforeWrite takes. A number may be another connection's by the time it is used: its next
  // bytes would wait for the end of a batch, no more.
  int SocketOf(const std::string& peer) const { return socket_of_(peer); }

  void OnBatch(size_t events) override;
  void OnBatchEnd() override;

  // A message of a stream on this connection follows.
  void BeforeWrite(int socket);
  // On a thread of gRPC that has a completed write to handle.
  void AwaitBatch() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const std::function<int(const std::string& peer)> socket_of_;
  std::atomic<int> writing_{0};  // changes under the lock
  Mutex mutex_;
  CondVar written_;
};

}  // namespace skipstone::server
