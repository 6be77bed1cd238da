// What the exposure log is told of a request: begun when it is admitted, completed when it ends.
// Any thread may call.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/experiment/exposure_record.h"
#include "engine/request_sink.h"
#include "engine/shadow.h"
#include "server/experiments.h"
#include "server/levels.h"
#include "server/serving.h"

namespace skipstone::server {

// `text` if it is a W3C traceparent, which joins the record with the caller's trace.
std::optional<std::string> TraceParentOf(const std::optional<std::string>& text);

// Of a request that `assignment` and its own choice gave this level at `now`.
experiment::ExposureRecord BeginExposure(const Assignment& assignment, const Level& level,
                                         std::chrono::system_clock::time_point now);

// Somebody wants records: a log, or the guardrails of an experiment.
bool TakesExposures(const Serving& serving);
// To whoever wants it. Does not block.
void TakeExposure(experiment::ExposureRecord record, const Serving& serving);

// What was found by scoring it once more.
experiment::ShadowResult ShadowOf(const ShadowResult& shadow);

// How it ended: outcome, times, tokens, pages, and the windows in which that was.
void EndExposure(const RequestTotals& totals, experiment::ExposureRecord& record);

}  // namespace skipstone::server
