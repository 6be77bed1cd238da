// The engine's sink of one generate call: makes wire events of what the engine reports, and the
// log line and the exposure record of the end.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"
#include "server/admission.h"
#include "server/shadow.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

// Called on the call's output thread; must not block. OnEnd is the last call.
class EventReceiver {
 public:
  virtual ~EventReceiver() = default;
  virtual void OnEvent(v1::GenerateEvent event) = 0;
  virtual void OnEnd(const absl::Status& status) = 0;
};

class GenerateSink : public RequestSink {
 public:
  // `receiver` lives until its OnEnd was called, `serving` as long as the engine.
  GenerateSink(const v1::GenerateRequest& request, const Admitted& admitted, const Serving& serving,
               EventReceiver& receiver);

  void OnAccepted(const AcceptedInfo& accepted) override;
  void OnDelta(OutputDelta delta) override;
  void OnFinished(const OutputFinished& finished) override;
  void OnDone(const absl::Status& status, const RequestTotals& totals) override;

 private:
  void WriteExposure(const absl::Status& status, const RequestTotals& totals);
  // As it is reported: the choice keeps the name it was chosen by.
  v1::AppliedSkip Applied(const SkipSet& skip) const;

  const Serving& serving_;
  const std::shared_ptr<const LiveConfig> live_;
  const std::shared_ptr<const ApiKey> key_;
  const std::string traceparent_;
  const SkipSet chosen_;
  const v1::AppliedSkip choice_;
  v1::Accepted accepted_;  // all but the counts
  RequestLabels labels_;
  std::string echo_;  // text before each output
  int outputs_ = 1;
  bool with_tokens_ = false;
  EventReceiver& receiver_;
  OutputFinished last_;  // for the log
  std::optional<experiment::ExposureRecord> exposure_;
  std::optional<ServedTokens> served_;  // if it is to be scored once more
};

}  // namespace skipstone::server
