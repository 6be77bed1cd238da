// Products of many rows by cuBLASLt, each by an algorithm that was timed once.
//
//   SKIPSTONE_ASSIGN_OR_RETURN(LtMatMul library, LtMatMul::Create(tuning_cache));
//   library.Tune(shape, weight, scratch, stream);
//   library.Run(shape, operands, stream);
//   library.Seal();   // after the warm-up
//
// An algorithm is chosen per shape and range of rows: 1 to 32, 33 to 64, 65 to 128 and so on. Sums
// are f32, but their order is the algorithm's: the same row may differ in its last bits between
// ranges, and between two starts that timed anew. A tuning cache pins the choice.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/cuda/products/lt_product.h"
#include "engine/cuda/products/tuning_cache.h"

namespace skipstone::cuda {

// Memory that Tune writes over. What does not fit in is not timed.
struct LtScratch {
  const DeviceMemory& x;
  const DeviceMemory& y;  // at least of the L2 cache's size
};

// Its memory is bounded: products of the same range share one entry. Move-only. Step thread only.
class LtMatMul {
 public:
  // Errors: NOT_FOUND without the library, INTERNAL if it does not start, RESOURCE_EXHAUSTED.
  static absl::StatusOr<LtMatMul> Create(const std::string& tuning_cache = "");

  // Finds the fastest algorithm for the shape's range if none is known, by timing: the host waits
  // for the stream. Not while the stream is being recorded. Errors: INTERNAL.
  absl::Status Tune(const LtShape& shape, const void* weight, const LtScratch& scratch,
                    cudaStream_t stream);
  // By the algorithm that is known for the range, else by the library's first suggestion. Errors:
  // INTERNAL.
  absl::Status Run(const LtShape& shape, const LtOperands& operands, cudaStream_t stream);
  // From now on Tune does nothing: a step must not stall. Saves what was found.
  void Seal();

 private:
  struct Destroy {
    void operator()(cublasLtHandle_t handle) const { cublasLtDestroy(handle); }
  };
  struct Entry {
    LtProduct product;
    cublasLtMatmulAlgo_t chosen = {};   // for the range
    cublasLtMatmulAlgo_t current = {};  // for `rows`: `chosen` wherever the library takes it
    int rows = 0;                       // of the last run
  };

  LtLibrary library() const { return {handle_.get(), workspace_.as<void>()}; }
  absl::StatusOr<Entry*> EntryOf(const LtShape& shape);
  static absl::Status SetRows(Entry& entry, int rows);

  std::unique_ptr<cublasLtContext, Destroy> handle_;
  DeviceMemory workspace_;
  TuningCache known_;
  std::map<LtShape, Entry> entries_;  // by the shape with the last row count of its range
  bool sealed_ = false;
};

}  // namespace skipstone::cuda
