// A RequestSink that keeps what it is given, and a wait for its end.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "engine/request.h"

namespace skipstone {

// What a request got. Shared by the sink, which the engine owns, and the test.
class Recording {
 public:
  struct Output {
    std::string text;
    std::vector<GeneratedToken> tokens;
    std::vector<GeneratedToken> prompt_tokens;
    std::optional<OutputFinished> finished;

    std::vector<int32_t> Ids() const {
      std::vector<int32_t> ids;
      for (const GeneratedToken& token : tokens) ids.push_back(token.token.id);
      return ids;
    }
  };

  // A sink that writes here.
  static std::unique_ptr<RequestSink> Sink(std::shared_ptr<Recording> recording);

  void WaitAccepted();
  void WaitTokens(int count);
  // The final status.
  absl::Status WaitDone();

  std::optional<AcceptedInfo> accepted();
  // Only after WaitDone.
  const std::vector<Output>& outputs() const { return outputs_; }
  const RequestTotals& totals() const { return totals_; }

 private:
  class RecordingSink;

  Mutex mutex_;
  CondVar changed_;
  std::optional<AcceptedInfo> accepted_;
  std::optional<absl::Status> done_;
  std::vector<Output> outputs_;
  RequestTotals totals_;
};

}  // namespace skipstone
