#include "server/generate_reactor.h"

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "base/status.h"
#include "server/admission.h"
#include "server/answer.h"
#include "server/generate_sink.h"
#include "server/incoming_call.h"
#include "server/logging.h"
#include "server/rpc.h"
#include "server/watched_reactor.h"

namespace skipstone::server {
namespace {

// Joined deltas stay within the 4 MiB that a client receives by default: a token with 20
// alternatives of 60 bytes takes 1.7 KB.
constexpr size_t kMaxJoinedBytes = size_t{1} << 20;
constexpr int kMaxJoinedTokens = 1024;

struct Prepared {
  v1::GenerateRequest request;
  Admitted admitted;
};

absl::StatusOr<Prepared> Prepare(IncomingCall& call, const absl::Status& status,
                                 GenerateDialect& dialect) {
  SKIPSTONE_RETURN_IF_ERROR(status);
  SKIPSTONE_RETURN_IF_ERROR(CheckServing(&call.serving()));
  Prepared prepared;
  SKIPSTONE_ASSIGN_OR_RETURN(prepared.request, dialect.Read(call.request()));
  SKIPSTONE_ASSIGN_OR_RETURN(prepared.admitted,
                             call.admission().Generate(prepared.request, call.serving()));
  return prepared;
}

// Of an answer that is one message.
absl::Status CheckAnswer(const Prepared& prepared, const Serving& serving) {
  return serving.answer_bound.CheckGenerate(prepared.request, prepared.admitted.request,
                                            serving.model.config.shape.max_context);
}

// On an error, which is the call's refusal, the engine holds nothing of the call; otherwise the
// receiver may be gone on return.
grpc::Status Submit(IncomingCall& call, Prepared& prepared, EventReceiver& receiver) {
  EngineRequest& request = prepared.admitted.request;
  auto sink =
      std::make_unique<GenerateSink>(prepared.request, prepared.admitted, call.serving(), receiver);
  const QueueMeter::Amount amount = AmountOf(request);
  const absl::Status status =
      call.guard().Submit(*call.serving().engine, std::move(request), std::move(sink));
  return status.ok() ? grpc::Status::OK : call.Refuse(status, amount);
}

class UnaryReactor : public WatchedUnaryReactor, public EventReceiver {
 public:
  UnaryReactor(Serving& serving, grpc::CallbackServerContext& context,
               const grpc::ByteBuffer& request, grpc::ByteBuffer& response)
      : WatchedUnaryReactor(context, &serving.stall_watch),
        bytes_(response),
        call_(serving, context, request) {
    call_.Start([this](const absl::Status& status) { Read(status); });
  }

  void OnEvent(v1::GenerateEvent event) override {
    if (event.has_accepted()) {
      AddRequestId(call_.context(), event.accepted().request_id());
      *response_.mutable_accepted() = std::move(*event.mutable_accepted());
    } else if (event.has_delta()) {
      AppendDelta(event.delta(), Output(event.delta().index()).mutable_delta());
    } else {
      v1::GenerateOutput& output = Output(event.finished().index());
      output.mutable_delta()->set_index(event.finished().index());
      *output.mutable_finished() = std::move(*event.mutable_finished());
    }
  }

  void OnEnd(const absl::Status& status) override {
    call_.guard().Disarm();
    if (status.ok()) bytes_ = Serialize(response_);
    FinishWatched(ToGrpc(status));
  }

  void OnCancel() override { call_.OnCancel(); }

 private:
  void Read(const absl::Status& status) {
    GenerateDialect dialect;
    auto prepared = Prepare(call_, status, dialect);
    if (prepared.ok()) {
      const absl::Status fits = CheckAnswer(*prepared, call_.serving());
      if (!fits.ok()) prepared = fits;
    }
    const grpc::Status refusal =
        prepared.ok() ? Submit(call_, *prepared, *this) : call_.Refuse(prepared.status());
    if (!refusal.ok()) FinishWatched(refusal);
  }

  v1::GenerateOutput& Output(uint32_t index) {
    while (response_.outputs_size() <= static_cast<int>(index)) response_.add_outputs();
    return *response_.mutable_outputs(static_cast<int>(index));
  }

  grpc::ByteBuffer& bytes_;
  v1::GenerateResponse response_;
  IncomingCall call_;
};

// The engine never waits for the reader: events queue here, and deltas that wait are joined. gRPC
// may call back from within what is asked of it, so nothing is while the lock is held.
class StreamReactor : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public EventReceiver {
 public:
  StreamReactor(Serving& serving, grpc::CallbackServerContext& context,
                const grpc::ByteBuffer& request, std::unique_ptr<GenerateDialect> dialect)
      : dialect_(std::move(dialect)), call_(serving, context, request) {
    call_.Start([this](const absl::Status& status) { Read(status); });
  }

  void OnEvent(v1::GenerateEvent event) override {
    // Before the first write, and so before any other event.
    if (event.has_accepted()) AddRequestId(call_.context(), event.accepted().request_id());
    {
      MutexLock lock(mutex_);
      if (broken_) return;
      if (!Joined(event)) queue_.push_back(std::move(event));
      if (!TakeNext()) return;
    }
    Write();
  }

  void OnEnd(const absl::Status& status) override {
    call_.guard().Disarm();
    // The reader may not read, and a status would wait for it for ever. Before the end is known
    // here, since afterwards nothing of this may be touched.
    if (absl::IsCancelled(status)) call_.context().TryCancel();
    {
      MutexLock lock(mutex_);
      if (absl::IsCancelled(status)) queue_.clear();
      end_ = status;
      if (writing_) return;
    }
    Finish(ToGrpc(status));
  }

  void OnWriteDone(bool ok) override {
    stall_->WriteDone();
    call_.serving().write_batches.AwaitBatch();
    absl::Status end;
    bool more = false;
    {
      MutexLock lock(mutex_);
      writing_ = false;
      if (!ok) {
        broken_ = true;
        queue_.clear();
      }
      more = TakeNext();
      if (!more && !end_) return;
      if (!more) end = *end_;
    }
    more ? Write() : Finish(ToGrpc(end));
  }

  void OnCancel() override { call_.OnCancel(); }
  void OnDone() override {
    if (stall_) stall_->End();
    delete this;
  }

 private:
  void Read(const absl::Status& status) {
    auto prepared = Prepare(call_, status, *dialect_);
    if (prepared.ok() && dialect_->answers_at_once()) {
      const absl::Status fits = CheckAnswer(*prepared, call_.serving());
      if (!fits.ok()) prepared = fits;
    }
    if (!prepared.ok()) {
      Finish(call_.Refuse(prepared.status()));
      return;
    }
    stall_ = call_.serving().stall_watch.Add(
        [this, id = prepared->admitted.request.id] { OnStall(id); });
    socket_ = call_.serving().write_batches.SocketOf(call_.context().peer());
    const grpc::Status refusal = Submit(call_, *prepared, *this);
    if (!refusal.ok()) Finish(refusal);
  }

  // On the watch's thread. The request may have ended already, and only its events still wait.
  void OnStall(const std::string& id) {
    LogLimited(Severity::kWarning, "stream stalled", {{"request_id", id}});
    call_.guard().OnStall();
    {
      MutexLock lock(mutex_);
      queue_.clear();
    }
    call_.context().TryCancel();
  }

  // Appends a delta to a waiting one of the same output.
  bool Joined(const v1::GenerateEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (queue_.empty() || !event.has_delta() || !queue_.back().has_delta()) return false;
    v1::Delta& waiting = *queue_.back().mutable_delta();
    const v1::Delta& more = event.delta();
    if (waiting.index() != more.index()) return false;
    if (waiting.text().size() + more.text().size() > kMaxJoinedBytes) return false;
    if (waiting.tokens_size() + waiting.prompt_tokens_size() + more.tokens_size() +
            more.prompt_tokens_size() >
        kMaxJoinedTokens) {
      return false;
    }
    AppendDelta(more, &waiting);
    return true;
  }

  // True: the caller writes `bytes_` next, without the lock.
  bool TakeNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (!writing_ && !queue_.empty()) {
      std::optional<grpc::ByteBuffer> bytes = dialect_->Write(queue_.front());
      queue_.pop_front();
      if (!bytes) continue;
      bytes_ = *std::move(bytes);
      writing_ = true;
      return true;
    }
    return false;
  }

  void Write() {
    stall_->WriteStarted();
    call_.serving().write_batches.BeforeWrite(socket_);
    StartWrite(&bytes_);
  }

  const std::unique_ptr<GenerateDialect> dialect_;
  IncomingCall call_;
  std::shared_ptr<StallWatch::Stream> stall_;
  int socket_ = -1;         // of the connection
  grpc::ByteBuffer bytes_;  // of the write that is under way, whose starter alone touches it
  Mutex mutex_;
  std::deque<v1::GenerateEvent> queue_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerUnaryReactor* StartGenerate(Serving* serving, grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) {
  if (serving == nullptr) {
    return new RefusedCall<grpc::ServerUnaryReactor>(ToGrpc(CheckServing(nullptr)));
  }
  return new UnaryReactor(*serving, *context, *request, *response);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartGenerateStream(
    Serving* serving, grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    std::unique_ptr<GenerateDialect> dialect) {
  if (serving == nullptr) {
    return new RefusedCall<grpc::ServerWriteReactor<grpc::ByteBuffer>>(
        ToGrpc(CheckServing(nullptr)));
  }
  return new StreamReactor(*serving, *context, *request, std::move(dialect));
}

}  // namespace skipstone::server
