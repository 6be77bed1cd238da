#include "server/logging.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "engine/base/log.h"

namespace skipstone::server {
namespace {

bool json_lines = false;

spdlog::level::level_enum LevelOf(Severity severity) {
  switch (severity) {
    case Severity::kDebug:
      return spdlog::level::debug;
    case Severity::kInfo:
      return spdlog::level::info;
    case Severity::kWarning:
      return spdlog::level::warn;
    case Severity::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// A JSON string; what is not UTF-8 appears as U+FFFD.
std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool NeedsQuotes(const std::string& text) {
  return text.empty() || text.find_first_of(" \"=\n\t\r") != std::string::npos;
}

}  // namespace

void InitLogging(const std::string& level, const std::string& format) {
  json_lines = format == "json";
  auto logger = std::make_shared<spdlog::logger>("skipstone",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::from_str(level));
  logger->set_pattern(json_lines ? R"({"time":"%Y-%m-%dT%H:%M:%S.%f%z","level":"%l",%v})"
                                 : "%Y-%m-%dT%H:%M:%S.%f%z %l %v");
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  SetLogSink([](LogSeverity severity, const std::string& message) {
    const Severity of[] = {Severity::kInfo, Severity::kWarning, Severity::kError};
    LogEvent(of[static_cast<int>(severity)], "engine", {{"message", message}});
  });
}

bool LogsAt(Severity severity) {
  return spdlog::default_logger_raw()->should_log(LevelOf(severity));
}

void LogEvent(Severity severity, const std::string& event, const LogFields& fields) {
  if (!LogsAt(severity)) return;
  std::string line = json_lines ? "\"event\":" + Quoted(event) : event;
  for (const auto& [key, value] : fields) {
    if (json_lines) {
      line += ',' + Quoted(key) + ':' + Quoted(value);
    } else {
      line += ' ' + key + '=' + (NeedsQuotes(value) ? Quoted(value) : value);
    }
  }
  spdlog::default_logger_raw()->log(LevelOf(severity), "{}", line);
}

}  // namespace skipstone::server
