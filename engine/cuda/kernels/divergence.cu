// KL divergence of rows of logits from their references, as engine/cpu/divergence has it.
//
// A block compares one row with its reference: two passes over both, 16 bytes per id from the L2
// cache, where the product left them. Exponentials are f32, sums f64, so that the difference of two
// nearly equal distributions is not lost in them.
#include <algorithm>
#include <cfloat>

#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/number.cuh"
#include "engine/cuda/kernels/stage_kernels.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 512;

// max + log(sum), of which exp(logit - max) are the terms of the sum.
struct LogSumExp {
  float max;
  double sum;

  __device__ double Value() const { return max + log(sum); }
};

// In all threads, summed in one order, so that equal logits have equal sums. `scratch` as
// BlockReduce's.
__device__ LogSumExp LogSumExpOf(const float* logits, int vocab, double* scratch) {
  float max = -FLT_MAX;
  for (int id = threadIdx.x; id < vocab; id += blockDim.x) max = fmaxf(max, logits[id]);
  max = static_cast<float>(BlockReduce<double>(max, -FLT_MAX, Max(), scratch));
  double sum = 0;
  for (int id = threadIdx.x; id < vocab; id += blockDim.x) sum += expf(logits[id] - max);
  return {max, BlockReduce(sum, 0.0, Add(), scratch)};
}

// KL(p || q) = sum of softmax(p) (p - q), less the difference of their log-sum-exps.
__global__ void __launch_bounds__(kThreads) DivergenceKernel(DivergenceArgs args) {
  __shared__ double scratch[33];
  WaitForPrevious();
  const int i = blockIdx.x;
  const int reference = args.step->At<int32_t>(args.step->references)[args.first + i];
  if (reference < 0) return;
  const float* p = args.logits + static_cast<int64_t>(reference) * args.vocab;
  const float* q = args.logits + static_cast<int64_t>(i) * args.vocab;
  const LogSumExp of_q = LogSumExpOf(q, args.vocab, scratch);
  const LogSumExp of_p = LogSumExpOf(p, args.vocab, scratch);
  double weighted = 0;
  for (int id = threadIdx.x; id < args.vocab; id += blockDim.x) {
    weighted += static_cast<double>(expf(p[id] - of_p.max)) *
                (static_cast<double>(p[id]) - static_cast<double>(q[id]));
  }
  weighted = BlockReduce(weighted, 0.0, Add(), scratch);
  if (threadIdx.x != 0) return;
  const double kl = weighted / of_p.sum - of_p.Value() + of_q.Value();
  const int row = args.step->At<int32_t>(args.step->compared_rows)[args.first + i];
  args.results[row].kl = static_cast<float>(kl < 0 ? 0 : kl);  // keeps NaN
}

}  // namespace

cudaError_t LaunchDivergence(const DivergenceArgs& args, int rows, cudaStream_t stream) {
  // A small vocabulary has no work for more.
  const int threads = std::min(kThreads, (args.vocab + 31) / 32 * 32);
  return Launch(DivergenceKernel, {.grid = dim3(rows), .threads = threads}, stream, args);
}

}  // namespace skipstone::cuda
