// Structured logs on stderr: one line per event, as text or JSON, with the same fields. Who logs
// never waits for a reader: see log_writer.h.
//
//   LogEvent(Severity::kInfo, "finished", {{"request_id", id}, {"tokens", "12"}});
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"

namespace skipstone::server {

using Severity = LogSeverity;

// Every line has `time`, `level` (its severity) and `event`: fields have other names.
using LogFields = std::vector<std::pair<std::string, std::string>>;

// At most how long an end waits for the lines before it.
inline constexpr Duration kLogFlush = std::chrono::seconds(1);

// `level`: debug, info, warn, error; `format`: text, json. Also takes the messages of the engine,
// of gRPC and of protobuf. Call once, before other threads start.
void InitLogging(const std::string& level, const std::string& format);
// Before the process ends. Returns whether all that was logged is out.
bool FlushLogging();
// For want of a reader.
int64_t DroppedLogLines();

// Thread-safe. Cheap when the severity is off.
void LogEvent(Severity severity, const std::string& event, const LogFields& fields = {});
bool LogsAt(Severity severity);
// For what a client can cause at will: ten lines a second of an event, then one with their number.
void LogLimited(Severity severity, const std::string& event, const LogFields& fields);

}  // namespace skipstone::server
