#include "engine/cpu/buffer.h"

#include <sys/mman.h>

#include <utility>

namespace skipstone {
namespace {

constexpr int64_t kLineFloats = 16;
// Buffers of several huge pages ask for them: one walk of the page table per 4 KiB halves the read
// bandwidth of what streams.
constexpr int64_t kHugeBytes = int64_t{8} << 20;

}  // namespace

Buffer Buffer::Map(int64_t bytes) {
  Buffer buffer;
  if (bytes <= 0) return buffer;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return buffer;
  if (bytes >= kHugeBytes) madvise(data, bytes, MADV_HUGEPAGE);
  buffer.data_ = data;
  buffer.bytes_ = bytes;
  return buffer;
}

Buffer::~Buffer() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Matrix::Matrix(int64_t rows, int64_t cols) {
  const int64_t lines = (cols + kLineFloats - 1) / kLineFloats;
  stride_ = (lines | 1) * kLineFloats;
  buffer_ = Buffer::Map(rows * stride_ * static_cast<int64_t>(sizeof(float)));
}

}  // namespace skipstone
