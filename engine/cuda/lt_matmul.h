// Products of many rows by cuBLASLt.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/tensor.h"
#include "engine/cuda/cublas_lt.h"
#include "engine/cuda/device_memory.h"

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

// f32 accumulation. The algorithm is chosen once per shape, by the library's heuristics, and then
// kept. Move-only. Step thread only.
class LtMatMul {
 public:
  // Errors: NOT_FOUND without the library, INTERNAL if it does not start, RESOURCE_EXHAUSTED.
  static absl::StatusOr<LtMatMul> Create();

  // All pointers are multiples of 16 bytes.
  absl::Status Run(const LtShape& shape, const void* weight, const void* x, void* y,
                   cudaStream_t stream);

 private:
  struct Plan;
  struct Destroy {
    void operator()(cublasLtHandle_t handle) const { cublasLtDestroy(handle); }
    void operator()(Plan* plan) const;
  };

  absl::StatusOr<const Plan*> PlanOf(const LtShape& shape);
  absl::StatusOr<std::unique_ptr<Plan, Destroy>> MakePlan(const LtShape& shape) const;

  std::unique_ptr<cublasLtContext, Destroy> handle_;
  DeviceMemory workspace_;
  std::map<LtShape, std::unique_ptr<Plan, Destroy>> plans_;
};

}  // namespace skipstone::cuda
