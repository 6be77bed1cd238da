#include "tests/support/recording_sink.h"

#include <utility>

#include "base/check.h"

namespace skipstone {

class Recording::RecordingSink : public RequestSink {
 public:
  explicit RecordingSink(std::shared_ptr<Recording> recording) : r_(std::move(recording)) {}

  void OnAccepted(const AcceptedInfo& accepted) override {
    MutexLock lock(r_->mutex_);
    SKIPSTONE_CHECK(!r_->accepted_ && !r_->done_);
    r_->accepted_ = accepted;
    r_->changed_.NotifyAll();
  }

  void OnDelta(OutputDelta delta) override {
    MutexLock lock(r_->mutex_);
    SKIPSTONE_CHECK(r_->accepted_ && !r_->done_);
    Output& output = At(delta.index);
    SKIPSTONE_CHECK(!output.finished);
    output.text += delta.text;
    for (auto& token : delta.tokens) output.tokens.push_back(std::move(token));
    for (auto& token : delta.prompt_tokens) output.prompt_tokens.push_back(std::move(token));
    r_->changed_.NotifyAll();
  }

  void OnFinished(const OutputFinished& finished) override {
    MutexLock lock(r_->mutex_);
    SKIPSTONE_CHECK(!r_->done_ && !At(finished.index).finished);
    At(finished.index).finished = finished;
  }

  void OnDone(const absl::Status& status, const RequestTotals& totals) override {
    MutexLock lock(r_->mutex_);
    SKIPSTONE_CHECK(!r_->done_);
    r_->totals_ = totals;
    // A copy that shares nothing: references to a shared one are dropped within the distribution's
    // abseil, which ThreadSanitizer does not see.
    r_->done_ = absl::Status(status.code(), status.message());
    r_->changed_.NotifyAll();
  }

 private:
  Output& At(int index) {
    if (index >= static_cast<int>(r_->outputs_.size())) r_->outputs_.resize(index + 1);
    return r_->outputs_[index];
  }

  const std::shared_ptr<Recording> r_;
};

std::unique_ptr<RequestSink> Recording::Sink(std::shared_ptr<Recording> recording) {
  return std::make_unique<RecordingSink>(std::move(recording));
}

void Recording::WaitAccepted() {
  MutexLock lock(mutex_);
  while (!accepted_ && !done_) changed_.Wait(mutex_);
}

void Recording::WaitTokens(int count) {
  MutexLock lock(mutex_);
  while (!done_ && (outputs_.empty() || static_cast<int>(outputs_[0].tokens.size()) < count)) {
    changed_.Wait(mutex_);
  }
}

absl::Status Recording::WaitDone() {
  MutexLock lock(mutex_);
  while (!done_) changed_.Wait(mutex_);
  return *done_;
}

std::optional<AcceptedInfo> Recording::accepted() {
  MutexLock lock(mutex_);
  return accepted_;
}

}  // namespace skipstone
