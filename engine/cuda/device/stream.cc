#include "engine/cuda/device/stream.h"

#include <utility>

#include "base/status.h"
#include "engine/cuda/device/device_error.h"

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

absl::StatusOr<Event> Event::Create(unsigned flags) {
  Event event;
  SKIPSTONE_RETURN_IF_ERROR(
      ToStatus(cudaEventCreateWithFlags(&event.event_, flags), "cudaEventCreate"));
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

absl::StatusOr<TimingEvent> TimingEvent::Create() {
  TimingEvent event;
  SKIPSTONE_ASSIGN_OR_RETURN(event.event_, Event::Create(cudaEventBlockingSync));
  return event;
}

absl::StatusOr<double> TimingEvent::SecondsSince(const TimingEvent& earlier) const {
  float ms = 0;
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(cudaEventElapsedTime(&ms, earlier.event_.get(), event_.get()),
                                     "cudaEventElapsedTime"));
  return ms / 1e3;
}

}  // namespace skipstone::cuda
