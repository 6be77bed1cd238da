// Structured logs on stderr: one line per event, as text or JSON, with the same fields.
//
//   LogEvent(Severity::kInfo, "finished", {{"request_id", id}, {"tokens", "12"}});
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace skipstone::server {

enum class Severity { kDebug, kInfo, kWarning, kError };

using LogFields = std::vector<std::pair<std::string, std::string>>;

// `level`: debug, info, warn, error; `format`: text, json. Also takes the engine's messages. Call
// before other threads start.
void InitLogging(const std::string& level, const std::string& format);

// Thread-safe. Cheap when the severity is off.
void LogEvent(Severity severity, const std::string& event, const LogFields& fields = {});
bool LogsAt(Severity severity);

}  // namespace skipstone::server
