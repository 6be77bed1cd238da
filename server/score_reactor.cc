#include "server/score_reactor.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "server/admission.h"
#include "server/answer.h"
#include "server/convert.h"
#include "server/incoming_call.h"
#include "server/logging.h"
#include "server/rpc.h"
#include "server/watched_reactor.h"

namespace skipstone::server {
namespace {

// An error of one item, which it names. Others are the call's: a full queue, its deadline.
absl::Status OfItem(size_t index, const absl::Status& status) {
  if (!absl::IsInvalidArgument(status) && !absl::IsInternal(status) && !IsNeverFits(status)) {
    return status;
  }
  return {status.code(), absl::StrFormat("items[%d]: %s", index, std::string(status.message()))};
}

// The items are of one call, so that one output thread calls all their sinks, one at a time.
class ScoreReactor : public WatchedUnaryReactor {
 public:
  ScoreReactor(Serving& serving, grpc::CallbackServerContext& context,
               const grpc::ByteBuffer& request, grpc::ByteBuffer& bytes)
      : WatchedUnaryReactor(context, &serving.stall_watch),
        bytes_(bytes),
        call_(serving, context, request) {
    call_.Start([this](const absl::Status& status) { Read(status); });
  }

  void OnCancel() override { call_.OnCancel(); }

 private:
  class ItemSink : public RequestSink {
   public:
    ItemSink(ScoreReactor& call, int index) : call_(call), index_(index) {}
    void OnAccepted(const AcceptedInfo&) override {}
    void OnDelta(OutputDelta delta) override { call_.Add(index_, std::move(delta)); }
    void OnFinished(const OutputFinished& finished) override {
      v1::ScoreResult& result = *call_.response_.mutable_results(index_);
      result.set_kv_pages_used(finished.kv_pages_used);
      result.set_kv_pages_windowed(finished.kv_pages_windowed);
      result.set_kv_pages_omitted(finished.kv_pages_omitted);
      aborted_ = finished.reason == FinishReason::kAborted;
    }
    void OnDone(const absl::Status& status, const RequestTotals& totals) override {
      Charge(call_.call_.admission().key(), status, totals, call_.call_.serving().metrics.server());
      call_.ItemsEnded(
          1, ToGrpc(aborted_ ? absl::AbortedError("aborted by request") : OfItem(index_, status)));
    }

   private:
    ScoreReactor& call_;
    const int index_;
    bool aborted_ = false;
  };

  void Read(const absl::Status& status) {
    absl::StatusOr<std::vector<EngineRequest>> items = Prepare(status);
    if (!items.ok()) {
      FinishWatched(call_.Refuse(items.status()));
      return;
    }
    QueueMeter::Amount rest;  // for which there must be room when the call is sent again
    for (const EngineRequest& item : *items) rest.Add(AmountOf(item));
    Begin(items->size());
    for (size_t i = 0; i < items->size(); ++i) {
      (*items)[i].more_follow = i + 1 < items->size();
      const QueueMeter::Amount amount = AmountOf((*items)[i]);
      const absl::Status taken =
          OfItem(i, call_.guard().Submit(*call_.serving().engine, std::move((*items)[i]),
                                         std::make_unique<ItemSink>(*this, static_cast<int>(i))));
      if (taken.ok()) {
        rest.Add(amount, -1);
        continue;
      }
      // Before those that were taken are told to end, whose status is not the call's.
      ItemsEnded(0, call_.Refuse(taken, rest));
      call_.guard().Withdraw();
      ItemsEnded(static_cast<int>(items->size() - i) + 1, grpc::Status::OK);
      return;
    }
    ItemsEnded(1, grpc::Status::OK);
  }

  // One more than the items, so that the call cannot end before all were submitted.
  void Begin(size_t items) {
    MutexLock lock(mutex_);
    pending_ = static_cast<int>(items) + 1;
  }

  absl::StatusOr<std::vector<EngineRequest>> Prepare(const absl::Status& status) {
    SKIPSTONE_RETURN_IF_ERROR(status);
    const Serving& serving = call_.serving();
    SKIPSTONE_RETURN_IF_ERROR(CheckServing(&serving));
    v1::ScoreRequest request;
    SKIPSTONE_RETURN_IF_ERROR(Parse(call_.request(), request));
    SKIPSTONE_ASSIGN_OR_RETURN(const Admitted admitted, call_.admission().Score(request, serving));
    top_ = static_cast<int>(request.top_logprobs());
    response_.set_request_id(admitted.request.id);
    *response_.mutable_applied_skip() = admitted.applied;
    const PromptRules rules = RulesOf(serving);
    std::vector<EngineRequest> items;
    int64_t scored = 0;
    for (int i = 0; i < request.items_size(); ++i) {
      EngineRequest item = admitted.request;
      auto ids = ScoreIds(request.items(i), rules, &item.score_from);
      if (!ids.ok()) {
        return absl::Status(
            ids.status().code(),
            absl::StrFormat("items[%d].%s", i, std::string(ids.status().message())));
      }
      item.prompt = *std::move(ids);
      scored += static_cast<int64_t>(item.prompt.size()) - item.score_from;
      SKIPSTONE_RETURN_IF_ERROR(serving.answer_bound.CheckScore(i + 1, scored, top_));
      v1::ScoreResult* result = response_.add_results();
      result->set_prompt_tokens(item.score_from);
      result->set_greedy(true);
      items.push_back(std::move(item));
    }
    return items;
  }

  void Add(int index, OutputDelta delta) {
    v1::ScoreResult& result = *response_.mutable_results(index);
    for (GeneratedToken& token : delta.prompt_tokens) {
      if (!token.token.logprob) continue;  // the first token of a text follows nothing
      result.set_logprob_sum(result.logprob_sum() + *token.token.logprob);
      if (token.top.empty() || token.top[0].id != token.token.id) result.set_greedy(false);
      token.top.resize(std::min<size_t>(token.top.size(), top_));
      *result.add_tokens() = TokenOf(std::move(token));
    }
  }

  // The first status that is not OK is the call's.
  void ItemsEnded(int count, const grpc::Status& status) {
    {
      MutexLock lock(mutex_);
      if (status_.ok()) status_ = status;
      pending_ -= count;
      if (pending_ > 0) return;
    }
    call_.guard().Disarm();
    if (status_.ok()) {
      AddRequestId(call_.context(), response_.request_id());
      bytes_ = Serialize(response_);
    }
    LogEvent(
        Severity::kInfo, "scored",
        {{"request_id", response_.request_id()},
         {"code", absl::StatusCodeToString(static_cast<absl::StatusCode>(status_.error_code()))},
         {"skip_level", response_.applied_skip().level()},
         {"items", absl::StrFormat("%d", response_.results_size())}});
    FinishWatched(status_);
  }

  grpc::ByteBuffer& bytes_;
  IncomingCall call_;
  v1::ScoreResponse response_;
  int top_ = 0;
  Mutex mutex_;
  int pending_ ABSL_GUARDED_BY(mutex_) = 0;
  grpc::Status status_;  // guarded by mutex_ until nothing is pending
};

}  // namespace

grpc::ServerUnaryReactor* StartScore(Serving* serving, grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  if (serving == nullptr) {
    return new RefusedCall<grpc::ServerUnaryReactor>(ToGrpc(CheckServing(nullptr)));
  }
  return new ScoreReactor(*serving, *context, *request, *response);
}

}  // namespace skipstone::server
