// Keeps what one call serves until its end and then has it scored once more (Engine::Shadow): how
// far its level was from the full model, in metrics and in the exposure record.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/request.h"
#include "engine/shadow.h"
#include "server/metrics.h"

namespace skipstone::server {

// Whether a request is among the `fraction` (0 to 1) of all that are scored: by its id, so that all
// replicas and reports can tell.
bool IsShadowed(const std::string& request_id, double fraction);

// Of the call's first output. On the call's output thread.
class ServedTokens {
 public:
  explicit ServedTokens(const EngineRequest& request);

  void OnAccepted(const AcceptedInfo& accepted);
  void OnDelta(const OutputDelta& delta);
  void OnFinished(const OutputFinished& finished);

  // After the last of them, of a call that ended with OK: to be scored, unless nothing was
  // generated or load has enlarged its set, under which no single set served it. Counts how it
  // ended; then `done`, on the step thread or at once.
  void Score(Engine& engine, Metrics& metrics, OnShadow done) &&;

 private:
  ShadowRequest shadow_;
  const RequestLabels labels_;
  bool enlarged_ = false;
};

}  // namespace skipstone::server
