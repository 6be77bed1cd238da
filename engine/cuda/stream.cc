#include "engine/cuda/stream.h"

#include <utility>

#include "engine/base/status.h"
#include "engine/cuda/device_error.h"

namespace skipstone::cuda {

absl::StatusOr<Stream> Stream::Create() {
  Stream stream;
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(
      cudaStreamCreateWithFlags(&stream.stream_, cudaStreamNonBlocking), "cudaStreamCreate"));
  return stream;
}

Stream::~Stream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

Stream::Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(stream_, other.stream_);
  return *this;
}

absl::StatusOr<Event> Event::Create() {
  Event event;
  // A blocking wait: the step thread leaves its core to the threads that serve the tokens.
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(
      cudaEventCreateWithFlags(&event.event_, cudaEventDisableTiming | cudaEventBlockingSync),
      "cudaEventCreate"));
  return event;
}

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

Event::Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}

Event& Event::operator=(Event&& other) noexcept {
  std::swap(event_, other.event_);
  return *this;
}

}  // namespace skipstone::cuda
