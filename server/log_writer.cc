#include "server/log_writer.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <deque>
#include <thread>
#include <utility>

#include "base/mutex.h"

namespace skipstone::server {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(20);
constexpr auto kTick = std::chrono::seconds(1);
// A writer that is not held in write() sees its end after one poll.
constexpr auto kLeave = std::chrono::milliseconds(200);

// Writes what is taken without waiting longer than one poll. A pipe that polls as writable has room
// for PIPE_BUF bytes; O_NONBLOCK would be set for every process that shares the descriptor.
// Returns the bytes taken, or -1 if none ever will be.
ssize_t WriteSome(int fd, std::string_view text) {
  pollfd ready{.fd = fd, .events = POLLOUT};
  if (poll(&ready, 1, static_cast<int>(kPoll.count())) <= 0) return 0;
  const ssize_t taken = write(fd, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
  if (taken >= 0) return taken;
  return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

class DescriptorOutput : public LineOutput {
 public:
  explicit DescriptorOutput(int fd) : fd_(fd) {}
  bool Write(std::string_view lines, const std::atomic<bool>& closed) override {
    while (!lines.empty() && !closed) {
      const ssize_t taken = WriteSome(fd_, lines);
      if (taken < 0) return false;
      lines.remove_prefix(static_cast<size_t>(taken));
    }
    return lines.empty();
  }

 private:
  const int fd_;
};

}  // namespace

bool WriteWithin(int fd, std::string_view text, Duration wait) {
  const Time deadline = SystemClock().Now() + wait;
  while (!text.empty()) {
    const ssize_t taken = WriteSome(fd, text);
    if (taken < 0) return false;
    text.remove_prefix(static_cast<size_t>(taken));
    if (taken == 0 && SystemClock().Now() >= deadline) return false;
  }
  return true;
}

struct LogWriter::State {
  State(std::unique_ptr<LineOutput> output, size_t max_bytes, std::function<void()> tick)
      : output(std::move(output)), max_bytes(max_bytes), tick(std::move(tick)) {}

  void Run();
  bool WaitForLines(Time& next_tick) ABSL_LOCKS_EXCLUDED(mutex);
  std::string TakeBatch(int64_t* lines) ABSL_LOCKS_EXCLUDED(mutex);

  const std::unique_ptr<LineOutput> output;
  const size_t max_bytes;
  const std::function<void()> tick;
  Mutex mutex;
  CondVar changed;
  std::deque<std::string> lines ABSL_GUARDED_BY(mutex);
  size_t bytes ABSL_GUARDED_BY(mutex) = 0;
  bool ended ABSL_GUARDED_BY(mutex) = false;
  std::atomic<bool> closed{false};
  std::atomic<int64_t> pending{0};  // lines queued or being written
  std::atomic<int64_t> written{0};
  std::atomic<int64_t> dropped{0};
  std::atomic<int64_t> failed{0};
};

// False at the end.
bool LogWriter::State::WaitForLines(Time& next_tick) {
  MutexLock lock(mutex);
  while (lines.empty() && !closed && SystemClock().Now() < next_tick) {
    changed.WaitUntil(mutex, next_tick);
  }
  return !closed;
}

// As many whole lines as one write takes, or one longer line.
std::string LogWriter::State::TakeBatch(int64_t* count) {
  std::string batch;
  MutexLock lock(mutex);
  while (!lines.empty() && (batch.empty() || batch.size() + lines.front().size() <= PIPE_BUF)) {
    bytes -= lines.front().size();
    batch += lines.front();
    lines.pop_front();
    ++*count;
  }
  return batch;
}

void LogWriter::State::Run() {
  pthread_setname_np(pthread_self(), "log");
  Time next_tick = SystemClock().Now() + kTick;
  while (WaitForLines(next_tick)) {
    if (SystemClock().Now() >= next_tick) {
      next_tick = SystemClock().Now() + kTick;
      if (tick) tick();
    }
    int64_t count = 0;
    const std::string batch = TakeBatch(&count);
    (output->Write(batch, closed) ? written : failed) += count;
    MutexLock lock(mutex);
    pending -= count;
    if (pending == 0) changed.NotifyAll();
  }
  MutexLock lock(mutex);
  ended = true;
  changed.NotifyAll();
}

LogWriter::LogWriter(int fd, size_t max_bytes, std::function<void()> tick)
    : LogWriter(std::make_unique<DescriptorOutput>(fd), max_bytes, std::move(tick)) {}

LogWriter::LogWriter(std::unique_ptr<LineOutput> output, size_t max_bytes,
                     std::function<void()> tick)
    : state_(std::make_shared<State>(std::move(output), max_bytes, std::move(tick))) {
  // Signals of the process are for threads that wait for them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([state = state_] { state->Run(); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

LogWriter::~LogWriter() {
  State& state = *state_;
  state.closed = true;
  const Time deadline = SystemClock().Now() + kLeave;
  MutexLock lock(state.mutex);
  state.changed.NotifyAll();
  while (!state.ended && state.changed.WaitUntil(state.mutex, deadline)) {
  }
}

void LogWriter::Write(std::string line) {
  State& state = *state_;
  MutexLock lock(state.mutex);
  state.bytes += line.size();
  state.lines.push_back(std::move(line));
  ++state.pending;
  // The last lines say what led to an end.
  while (state.bytes > state.max_bytes) {
    state.bytes -= state.lines.front().size();
    state.lines.pop_front();
    --state.pending;
    ++state.dropped;
  }
  if (state.lines.size() == 1) state.changed.NotifyAll();
}

bool LogWriter::Flush(Duration wait) {
  State& state = *state_;
  const Time deadline = SystemClock().Now() + wait;
  MutexLock lock(state.mutex);
  while (state.pending > 0 && state.changed.WaitUntil(state.mutex, deadline)) {
  }
  return state.pending == 0;
}

void LogWriter::FlushInSignal(Duration wait) const {
  const Time deadline = SystemClock().Now() + wait;
  const timespec moment = {.tv_sec = 0, .tv_nsec = 1000000};
  while (state_->pending > 0 && SystemClock().Now() < deadline) nanosleep(&moment, nullptr);
}

LogWriter::Counts LogWriter::counts() const {
  return {.written = state_->written, .dropped = state_->dropped, .failed = state_->failed};
}

}  // namespace skipstone::server
