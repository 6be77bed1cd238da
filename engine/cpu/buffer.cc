#include "engine/cpu/buffer.h"

#include <sys/mman.h>

#include <cstring>

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
  buffer.data_ = {data, {bytes}};
  return buffer;
}

Buffer Buffer::MapResident(int64_t bytes) {
  Buffer buffer = Map(bytes);
  // Touched after Map's advice: MAP_POPULATE would have taken small pages before it.
  if (buffer.data_) std::memset(buffer.data_.get(), 0, bytes);
  return buffer;
}

void Buffer::Unmap::operator()(void* data) const { munmap(data, bytes); }

Matrix::Matrix(int64_t rows, int64_t cols) : rows_(rows) {
  const int64_t lines = (cols + kLineFloats - 1) / kLineFloats;
  stride_ = (lines | 1) * kLineFloats;
  buffer_ = Buffer::MapResident(rows * stride_ * static_cast<int64_t>(sizeof(float)));
}

}  // namespace skipstone
