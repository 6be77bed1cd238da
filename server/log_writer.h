// Lines on their way to something that may not take them: a pipe without a reader, a full disk, a
// slow volume. Who writes never waits: lines queue for a thread of their own, and the oldest are
// dropped, and counted, where the queue is full.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace skipstone::server {

// Where lines go. The writer's thread alone calls.
class LineOutput {
 public:
  virtual ~LineOutput() = default;
  // Takes whole lines, in whatever time that needs, until `closed`. False: they are lost.
  virtual bool Write(std::string_view lines, const std::atomic<bool>& closed) = 0;
};

// Thread-safe.
class LogWriter {
 public:
  struct Counts {
    int64_t written = 0;
    int64_t dropped = 0;  // the queue was full
    int64_t failed = 0;   // the output did not take them
  };

  // `tick` is called on the writer's thread about once a second, and may write.
  LogWriter(int fd, size_t max_bytes, std::function<void()> tick = {});
  LogWriter(std::unique_ptr<LineOutput> output, size_t max_bytes, std::function<void()> tick = {});
  // Drops what is left. Leaves its thread behind if the output holds it.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // `line` with its end. Never blocks.
  void Write(std::string line);
  // Waits until all that was written before is out, up to `wait`. Returns whether it is.
  bool Flush(Duration wait);
  // The same without locks, for a signal's handler.
  void FlushInSignal(Duration wait) const;
  Counts counts() const;  // of lines

 private:
  struct State;
  // With the thread, which may outlive the writer.
  const std::shared_ptr<State> state_;
};

// Writes `text`, waiting up to `wait` for a descriptor that does not take it. Returns whether all
// was taken.
bool WriteWithin(int fd, std::string_view text, Duration wait);

}  // namespace skipstone::server
