// Memory of the CPU backend, zeroed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace skipstone {

// Move-only anonymous mapping. as() is null after a failed or empty Map.
class Buffer {
 public:
  // Reserves address space, not memory: pages appear when they are touched. Null if refused.
  static Buffer Map(int64_t bytes);
  // With its memory: what a server needs it has from the start, and not when it first runs as many
  // rows as it may.
  static Buffer MapResident(int64_t bytes);

  template <class T>
  T* as() const {
    return static_cast<T*>(data_.get());
  }
  int64_t bytes() const { return data_.get_deleter().bytes; }

 private:
  struct Unmap {
    int64_t bytes;
    void operator()(void* data) const;
  };

  std::unique_ptr<void, Unmap> data_;
};

// Rows of floats, resident. The stride is an odd number of cache lines, so that the rows of a tile
// do not fall into the same cache sets.
class Matrix {
 public:
  Matrix() = default;
  // Errors show as !valid().
  Matrix(int64_t rows, int64_t cols);

  bool valid() const { return buffer_.as<float>() != nullptr; }
  float* row(int64_t r) const { return buffer_.as<float>() + r * stride_; }
  int64_t rows() const { return rows_; }
  int64_t stride() const { return stride_; }
  int64_t bytes() const { return buffer_.bytes(); }

 private:
  int64_t rows_ = 0;
  int64_t stride_ = 0;
  Buffer buffer_;
};

}  // namespace skipstone
