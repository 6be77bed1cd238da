#include "server/logging.h"

#include <google/protobuf/stubs/common.h>
#include <signal.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <grpcpp/version_info.h>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
// Later versions of both log through abseil.
#define SKIPSTONE_GRPC_LOGS (GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR < 65)
#define SKIPSTONE_PROTOBUF_LOGS (GOOGLE_PROTOBUF_VERSION < 4022000)
#if SKIPSTONE_GRPC_LOGS
#include <grpc/support/log.h>
#endif
#if SKIPSTONE_PROTOBUF_LOGS
#include <google/protobuf/stubs/logging.h>
#endif
#include "server/log_limiter.h"
#include "server/log_writer.h"

namespace skipstone::server {
namespace {

// About a thousand lines: what a reader misses who stalls for longer is dropped.
constexpr size_t kMaxBytes = 256 << 10;

bool json_lines = false;

// Never destroyed, like the writer: threads may log for as long as the process lives.
LogLimiter& Limiter() {
  static LogLimiter& limiter = *new LogLimiter(SystemClock());
  return limiter;
}

void LogSuppressed(bool all) {
  for (const auto& [event, count] : Limiter().TakeSuppressed(all)) {
    LogEvent(Severity::kWarning, event, {{"more", absl::StrFormat("%d", count)}});
  }
}

LogWriter*& Writer() {
  static LogWriter* writer = nullptr;
  return writer;
}

// spdlog's own asynchronous logger blocks or joins its thread at exit, which may be held for ever.
class WriterSink : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    Writer()->Write(std::string(line.data(), line.size()));
  }
  void flush_() override {}
};

spdlog::level::level_enum LevelOf(Severity severity) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::info, spdlog::level::warn,
                                                   spdlog::level::err};
  return kLevels[static_cast<int>(severity)];
}

// A JSON string; what is not UTF-8 appears as U+FFFD.
std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool NeedsQuotes(const std::string& text) {
  return text.empty() || text.find_first_of(" \"=\n\t\r") != std::string::npos;
}

// What the libraries say, which they would write to stderr themselves and wait for its reader.
void TakeLibraryLogs() {
#if SKIPSTONE_GRPC_LOGS
  gpr_set_log_function([](gpr_log_func_args* args) {
    const bool error = args->severity == GPR_LOG_SEVERITY_ERROR;
    LogLimited(error ? Severity::kError : Severity::kInfo, "grpc", {{"message", args->message}});
  });
#endif
#if SKIPSTONE_PROTOBUF_LOGS
  // A string of a client's that is not UTF-8, among others.
  google::protobuf::SetLogHandler(
      [](google::protobuf::LogLevel, const char*, int, const std::string& message) {
        LogLimited(Severity::kWarning, "protobuf", {{"message", message}});
      });
#endif
}

}  // namespace

void InitLogging(const std::string& level, const std::string& format) {
  json_lines = format == "json";
  signal(SIGPIPE, SIG_IGN);  // a reader that is gone is one that takes nothing
  Writer() = new LogWriter(STDERR_FILENO, kMaxBytes, [] { LogSuppressed(/*all=*/false); });
  // An abort, by whichever library, leaves the lines before it.
  signal(SIGABRT, [](int) { Writer()->FlushInSignal(kLogFlush); });
  auto logger = std::make_shared<spdlog::logger>("skipstone", std::make_shared<WriterSink>());
  logger->set_level(spdlog::level::from_str(level));
  logger->set_pattern(json_lines ? R"({"time":"%Y-%m-%dT%H:%M:%S.%f%z","level":"%l",%v})"
                                 : "%Y-%m-%dT%H:%M:%S.%f%z %l %v");
  spdlog::set_default_logger(std::move(logger));
  SetLogSink([](Severity severity, const std::string& message) {
    LogEvent(severity, "engine", {{"message", message}});
  });
  TakeLibraryLogs();
}

bool FlushLogging() {
  if (Writer() == nullptr) return true;
  LogSuppressed(/*all=*/true);
  return Writer()->Flush(kLogFlush);
}

int64_t DroppedLogLines() {
  if (Writer() == nullptr) return 0;
  const LogWriter::Counts counts = Writer()->counts();
  return counts.dropped + counts.failed;
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

void LogLimited(Severity severity, const std::string& event, const LogFields& fields) {
  if (LogsAt(severity) && Limiter().Admit(event)) LogEvent(severity, event, fields);
}

}  // namespace skipstone::server
