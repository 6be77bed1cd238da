// What the exposure log is told of a request: begun when it is admitted, completed when it ends.
// Pure functions.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/experiment/exposure_record.h"
#include "engine/request_sink.h"
#include "server/experiments.h"
#include "server/levels.h"

namespace skipstone::server {

// `text` if it is a W3C traceparent, which joins the record with the caller's trace.
std::optional<std::string> TraceParentOf(const std::optional<std::string>& text);

// Of a request that `assignment` and its own choice gave this level at `now`.
experiment::ExposureRecord BeginExposure(const Assignment& assignment, const Level& level,
                                         std::chrono::system_clock::time_point now);

// How it ended: outcome, times, tokens, pages, and the windows in which that was.
void EndExposure(const RequestTotals& totals, experiment::ExposureRecord& record);

}  // namespace skipstone::server
