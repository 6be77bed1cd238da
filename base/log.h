// Where the engine's rare messages go. The server installs a sink; without one they go to stderr.
#pragma once

#include <functional>
#include <string>

namespace skipstone {

enum class LogSeverity { kInfo, kWarning, kError };

using LogSink = std::function<void(LogSeverity, const std::string& message)>;

// Call before any other thread runs.
void SetLogSink(LogSink sink);

// Thread-safe if the sink is.
void Log(LogSeverity severity, const std::string& message);

}  // namespace skipstone
