// One product of cuBLASLt, for any number of rows.
#pragma once

#include <compare>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/tensor.h"
#include "engine/cuda/device/device_memory.h"
#include "engine/cuda/products/cublas_lt.h"

namespace skipstone::cuda {

// The shape of y = x W^T or y += x W^T: W [outputs, inputs], x [rows, inputs], y [rows, outputs]
// with `y_stride` elements from row to row.
struct LtShape {
  DType type = DType::kBF16;  // of W and x
  int rows = 0;
  int outputs = 0;
  int inputs = 0;
  int y_stride = 0;
  bool f32_output = false;  // else of `type`
  bool add = false;
  auto operator<=>(const LtShape&) const = default;
};

// All pointers are multiples of 16 bytes.
struct LtOperands {
  const void* weight = nullptr;
  const void* x = nullptr;
  void* y = nullptr;
};

// What products share; must outlive them.
struct LtLibrary {
  cublasLtHandle_t handle = nullptr;
  void* workspace = nullptr;  // of kLtWorkspaceBytes
};
inline constexpr int64_t kLtWorkspaceBytes = int64_t{32} << 20;  // NVIDIA's advice for Hopper

// OK, or INTERNAL with the library's number.
absl::Status LtStatus(cublasStatus_t status, const char* what);

// f32 accumulation. Move-only. Step thread only; all errors are INTERNAL.
class LtProduct {
 public:
  static absl::StatusOr<LtProduct> Create(const LtLibrary& library, const LtShape& shape);

  const LtShape& shape() const { return shape_; }
  // From here on the product has so many rows.
  absl::Status SetRows(int rows);

  // The library's choices for these rows, what it expects to be the fastest first: 1 to `most`.
  absl::StatusOr<std::vector<cublasLtMatmulAlgo_t>> Suggest(int most) const;
  // Whether the library would run these rows by `algorithm`, within the workspace.
  bool Fits(const cublasLtMatmulAlgo_t& algorithm) const;
  absl::Status Run(const cublasLtMatmulAlgo_t& algorithm, const LtOperands& operands,
                   cudaStream_t stream) const;

 private:
  struct Destroy {
    void operator()(cublasLtMatmulDesc_t product) const { cublasLtMatmulDescDestroy(product); }
    void operator()(cublasLtMatrixLayout_t layout) const { cublasLtMatrixLayoutDestroy(layout); }
  };
  using Description = std::unique_ptr<cublasLtMatmulDescOpaque_t, Destroy>;
  using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Destroy>;

  static absl::StatusOr<Layout> MakeLayout(cudaDataType_t type, int rows, int columns, int stride);

  LtLibrary library_;
  LtShape shape_;
  // The library thinks in columns: y^T [outputs, rows] = W x^T, with W^T and x^T as they lie.
  Description product_;
  Layout weight_;
  Layout x_;
  Layout y_;
};

}  // namespace skipstone::cuda
