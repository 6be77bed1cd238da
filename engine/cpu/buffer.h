// Memory of the CPU backend: zeroed on first touch, and resident only from then on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace skipstone {

// Move-only anonymous mapping. data() is null after a failed or empty Map.
class Buffer {
 public:
  Buffer() = default;
  // Reserves address space, not memory: pages appear when they are touched. Null if refused.
  static Buffer Map(int64_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  int64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Rows of floats. The stride is an odd number of cache lines, so that the rows of a tile do not
// fall into the same cache sets.
class Matrix {
 public:
  Matrix() = default;
  // Errors show as !valid().
  Matrix(int64_t rows, int64_t cols);

  bool valid() const { return buffer_.as<float>() != nullptr; }
  float* row(int64_t r) const { return buffer_.as<float>() + r * stride_; }
  int64_t stride() const { return stride_; }
  int64_t bytes() const { return buffer_.bytes(); }

 private:
  int64_t stride_ = 0;
  Buffer buffer_;
};

}  // namespace skipstone
