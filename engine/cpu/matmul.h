// Products of rows of activations with weight matrices, spread over a thread pool by blocks of
// rows and outputs, never over the inputs.
#pragma once

#include <span>
#include <vector>

#include "engine/backend/tensor.h"
#include "engine/cpu/buffer.h"
#include "engine/cpu/thread_pool.h"
#include "engine/step/step_input.h"

namespace skipstone {

// One product: for each row r of `rows`, output[r] = weight * input[r].
struct MatMulJob {
  enum class Store {
    kSet,
    kAdd,   // output[r] += weight * input[r]
    kSilu,  // output[r] = silu(weight * input[r]) * (up * input[r])
  };
  RowList rows;
  const Matrix* input = nullptr;  // [*, weight.cols], arranged for the weight's type (dot_block.h)
  Tensor weight;                  // [outputs, inputs]
  Tensor up;                      // like weight, for kSilu
  Matrix* output = nullptr;       // [*, weight.rows]
  Store store = Store::kSet;
};

// Owns the scratch memory of each thread. One thread, the pool's caller, may call.
class MatMul {
 public:
  explicit MatMul(ThreadPool& pool);

  // Runs independent jobs side by side.
  void Run(std::span<const MatMulJob> jobs);

 private:
  void RunTask(const MatMulJob& job, int64_t task, int thread);

  ThreadPool& pool_;
  std::vector<Buffer> scratch_;  // by thread
};

}  // namespace skipstone
