#include "server/watched_reactor.h"

#include "server/logging.h"

namespace skipstone::server {

void WatchedUnaryReactor::FinishWatched(const grpc::Status& status) {
  if (watch_ != nullptr) {
    answer_ = watch_->Add([this] {
      LogLimited(Severity::kWarning, "answer not taken", {{"peer", context_.peer()}});
      context_.TryCancel();
    });
    answer_->WriteStarted();
  }
  Finish(status);
}

void WatchedUnaryReactor::OnDone() {
  if (answer_) answer_->End();
  delete this;
}

}  // namespace skipstone::server
