#include "server/generate_reactor.h"

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "engine/base/status.h"
#include "server/admission.h"
#include "server/call_guard.h"
#include "server/generate_sink.h"
#include "server/logging.h"
#include "server/rpc.h"
#include "server/watched_reactor.h"

namespace skipstone::server {
namespace {

struct Prepared {
  v1::GenerateRequest request;
  Admitted admitted;
};

absl::StatusOr<Prepared> Prepare(const Serving* serving, Admission& admission,
                                 const grpc::ByteBuffer& bytes) {
  SKIPSTONE_RETURN_IF_ERROR(CheckServing(serving));
  Prepared prepared;
  SKIPSTONE_RETURN_IF_ERROR(Parse(bytes, prepared.request));
  SKIPSTONE_ASSIGN_OR_RETURN(prepared.admitted, admission.Generate(prepared.request, *serving));
  return prepared;
}

// On an error, which is the call's refusal, the engine holds nothing of the call.
grpc::Status Submit(Serving& serving, Admission& admission, const Prepared& prepared,
                    CallGuard& guard, EventReceiver& receiver) {
  const EngineRequest& request = prepared.admitted.request;
  auto sink =
      std::make_unique<GenerateSink>(prepared.request, prepared.admitted, serving, receiver);
  guard.Arm(*serving.engine, request);
  // A copy, since the refusal is told by what was refused.
  const absl::Status status = serving.engine->Submit(request, std::move(sink));
  if (status.ok()) return grpc::Status::OK;
  guard.Disarm();
  return admission.Refuse(status, &serving, request);
}

class UnaryReactor : public WatchedUnaryReactor, public EventReceiver {
 public:
  UnaryReactor(Serving* serving, grpc::CallbackServerContext& context,
               const grpc::ByteBuffer& request, grpc::ByteBuffer& response)
      : WatchedUnaryReactor(context, serving ? &serving->stall_watch : nullptr),
        context_(context),
        bytes_(response) {
    Admission admission(context, SystemClock().Now());
    const auto prepared = Prepare(serving, admission, request);
    const grpc::Status status = prepared.ok()
                                    ? Submit(*serving, admission, *prepared, guard_, *this)
                                    : admission.Refuse(prepared.status(), serving);
    if (!status.ok()) FinishWatched(status);
  }

  void OnEvent(v1::GenerateEvent event) override {
    if (event.has_accepted()) {
      AddRequestId(context_, event.accepted().request_id());
      *response_.mutable_accepted() = std::move(*event.mutable_accepted());
    } else if (event.has_delta()) {
      Output(event.delta().index()).mutable_delta()->MergeFrom(WithWholeText(event.delta()));
    } else {
      v1::GenerateOutput& output = Output(event.finished().index());
      output.mutable_delta()->set_index(event.finished().index());
      *output.mutable_finished() = std::move(*event.mutable_finished());
    }
  }

  void OnEnd(const absl::Status& status) override {
    guard_.Disarm();
    if (status.ok()) bytes_ = Serialize(response_);
    FinishWatched(ToGrpc(status));
  }

  void OnCancel() override { guard_.OnCancel(); }

 private:
  v1::GenerateOutput& Output(uint32_t index) {
    while (response_.outputs_size() <= static_cast<int>(index)) response_.add_outputs();
    return *response_.mutable_outputs(static_cast<int>(index));
  }

  // Merging replaces strings, so the text so far goes in front.
  v1::Delta WithWholeText(v1::Delta delta) {
    delta.set_text(Output(delta.index()).delta().text() + delta.text());
    return delta;
  }

  grpc::CallbackServerContext& context_;
  grpc::ByteBuffer& bytes_;
  v1::GenerateResponse response_;
  CallGuard guard_;
};

// The engine never waits for the reader: events queue here, and deltas that wait are joined.
class StreamReactor : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public EventReceiver {
 public:
  StreamReactor(Serving* serving, grpc::CallbackServerContext& context,
                const grpc::ByteBuffer& request)
      : context_(context) {
    Admission admission(context, SystemClock().Now());
    const auto prepared = Prepare(serving, admission, request);
    if (!prepared.ok()) {
      Finish(admission.Refuse(prepared.status(), serving));
      return;
    }
    stall_ = serving->stall_watch.Add([this, id = prepared->admitted.request.id] { OnStall(id); });
    const grpc::Status status = Submit(*serving, admission, *prepared, guard_, *this);
    if (!status.ok()) Finish(status);
  }

  void OnEvent(v1::GenerateEvent event) override {
    MutexLock lock(mutex_);
    if (broken_) return;
    if (event.has_accepted()) AddRequestId(context_, event.accepted().request_id());
    if (!Joined(event)) queue_.push_back(std::move(event));
    WriteNext();
  }

  void OnEnd(const absl::Status& status) override {
    guard_.Disarm();
    {
      MutexLock lock(mutex_);
      end_ = status;
      // The reader may not read, and a status would wait for it for ever.
      if (absl::IsCancelled(status) || stalled_) GiveUp();
      if (WriteNext()) return;
    }
    // Outside the lock, since nothing of this may be touched after it.
    Finish(ToGrpc(status));
  }

  void OnWriteDone(bool ok) override {
    stall_->WriteDone();
    absl::Status end;
    {
      MutexLock lock(mutex_);
      writing_ = false;
      if (!ok) {
        broken_ = true;
        queue_.clear();
      }
      if (WriteNext() || !end_) return;
      end = *end_;
    }
    Finish(ToGrpc(end));
  }

  void OnCancel() override { guard_.OnCancel(); }
  void OnDone() override {
    if (stall_) stall_->End();
    delete this;
  }

 private:
  // On the watch's thread. The request may have ended already, and only its events still wait.
  void OnStall(const std::string& id) {
    LogEvent(Severity::kWarning, "stream stalled", {{"request_id", id}});
    guard_.OnStall();
    MutexLock lock(mutex_);
    stalled_ = true;
    if (end_) GiveUp();
  }

  void GiveUp() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    queue_.clear();
    context_.TryCancel();
  }

  // Appends a delta to a waiting one of the same output.
  bool Joined(const v1::GenerateEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (queue_.empty() || !event.has_delta() || !queue_.back().has_delta()) return false;
    v1::Delta& waiting = *queue_.back().mutable_delta();
    const v1::Delta& more = event.delta();
    if (waiting.index() != more.index()) return false;
    waiting.mutable_text()->append(more.text());
    waiting.mutable_tokens()->MergeFrom(more.tokens());
    waiting.mutable_prompt_tokens()->MergeFrom(more.prompt_tokens());
    return true;
  }

  // Returns whether a write is under way. If none is and the end is known, the call can finish.
  bool WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || queue_.empty()) return writing_;
    bytes_ = Serialize(queue_.front());
    queue_.pop_front();
    writing_ = true;
    stall_->WriteStarted();
    StartWrite(&bytes_);
    return true;
  }

  grpc::CallbackServerContext& context_;
  CallGuard guard_;
  std::shared_ptr<StallWatch::Stream> stall_;
  Mutex mutex_;
  std::deque<v1::GenerateEvent> queue_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer bytes_ ABSL_GUARDED_BY(mutex_);  // of the write that is under way
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerUnaryReactor* StartGenerate(Serving* serving, grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) {
  return new UnaryReactor(serving, *context, *request, *response);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartGenerateStream(
    Serving* serving, grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return new StreamReactor(serving, *context, *request);
}

}  // namespace skipstone::server
