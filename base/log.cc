#include "base/log.h"

#include <cstdio>
#include <utility>

namespace skipstone {
namespace {

LogSink& Sink() {
  static LogSink sink;
  return sink;
}

}  // namespace

void SetLogSink(LogSink sink) { Sink() = std::move(sink); }

void Log(LogSeverity severity, const std::string& message) {
  if (Sink()) {
    Sink()(severity, message);
    return;
  }
  static const char* const kNames[] = {"info", "warning", "error"};
  std::fprintf(stderr, "%s: %s\n", kNames[static_cast<int>(severity)], message.c_str());
}

}  // namespace skipstone
