// One GenerateStream call of a benchmark, driven by gRPC's callback threads: no thread waits for
// it.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "base/workload/request_record.h"
#include "client/call_options.h"
#include "skipstone/v1/inference.grpc.pb.h"

namespace skipstone::client {

struct LoadRecord : RequestRecord {
  Time started{};  // when it did
  absl::Status status;
  uint64_t kv_pages_used = 0;
  uint64_t kv_pages_windowed = 0;
  uint64_t kv_pages_omitted = 0;
  std::vector<Duration> gaps;  // between messages that brought tokens

  bool ok() const { return status.ok() && output_tokens > 0; }
  Duration Lag() const { return started - due; }
};

// Destroys itself when the call has ended. Made and started by one thread; what follows happens on
// gRPC's threads.
class LoadStream : public grpc::ClientReadReactor<v1::GenerateEvent> {
 public:
  using Done = std::function<void(LoadRecord)>;

  // `done` is called once, on a gRPC thread, with the finished record. Sends the options' metadata
  // and deadline; does not retry, so that a refusal shows as one.
  static void Start(v1::Inference::Stub& stub, v1::GenerateRequest request,
                    const CallOptions& options, LoadRecord record, Done done);

 private:
  LoadStream(v1::GenerateRequest request, LoadRecord record, Done done)
      : request_(std::move(request)), record_(std::move(record)), done_(std::move(done)) {}

  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  grpc::ClientContext context_;
  const v1::GenerateRequest request_;
  v1::GenerateEvent event_;
  LoadRecord record_;
  Done done_;
};

}  // namespace skipstone::client
