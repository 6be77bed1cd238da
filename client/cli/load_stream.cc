#include "client/cli/load_stream.h"

#include <utility>

#include "client/call_attempt.h"
#include "client/status.h"

namespace skipstone::client {

using std::chrono::steady_clock;

void LoadStream::Start(v1::Inference::Stub& stub, v1::GenerateRequest request,
                       const CallOptions& options, LoadRecord record, Done done) {
  auto* stream = new LoadStream(std::move(request), std::move(record), std::move(done));
  for (const auto& [key, value] : options.metadata) stream->context_.AddMetadata(key, value);
  if (const Deadline deadline = DeadlineOf(options)) stream->context_.set_deadline(*deadline);
  stream->record_.started = steady_clock::now();
  stub.async()->GenerateStream(&stream->context_, &stream->request_, stream);
  stream->StartRead(&stream->event_);
  stream->StartCall();
}

void LoadStream::OnReadDone(bool ok) {
  if (!ok) return;
  switch (event_.event_case()) {
    case v1::GenerateEvent::kAccepted:
      record_.prompt_tokens = event_.accepted().prompt_tokens();
      record_.browned_out = event_.accepted().browned_out();
      record_.gaps.reserve(request_.stopping().max_tokens());
      break;
    case v1::GenerateEvent::kDelta:
      if (event_.delta().tokens_size() == 0) break;
      if (const auto gap = record_.AddTokens(steady_clock::now(), event_.delta().tokens_size())) {
        record_.gaps.push_back(*gap);
      }
      break;
    case v1::GenerateEvent::kFinished:
      record_.kv_pages_used = event_.finished().kv_pages_used();
      record_.kv_pages_windowed = event_.finished().kv_pages_windowed();
      record_.kv_pages_omitted = event_.finished().kv_pages_omitted();
      record_.shed = event_.finished().applied_size() > 0;
      break;
    case v1::GenerateEvent::EVENT_NOT_SET:
      break;
  }
  StartRead(&event_);
}

void LoadStream::OnDone(const grpc::Status& status) {
  record_.ended = steady_clock::now();
  record_.status = ToAbslStatus(status);
  // Everything of gRPC goes first: whoever waits for the last record may shut gRPC down at once.
  const Done done = std::move(done_);
  LoadRecord record = std::move(record_);
  delete this;
  done(std::move(record));
}

}  // namespace skipstone::client
