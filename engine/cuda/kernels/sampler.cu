// Sampling and log-probabilities.
//
// A block reduces one row of logits; each pass over the row reads it from the L2 cache, the first
// from memory: 4 bytes per logit. Probabilities are exp((logit - max) / temperature), the largest
// 1, and are summed as integers of 2^-44, exactly and so in any order; a vocabulary of 2^20 ids
// does not overflow 64 bits. Limits: at most 2^20 ids.
#include <algorithm>
#include <cfloat>

#include "engine/backend/random.h"
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/select.cuh"
#include "engine/cuda/kernels/stage_kernels.h"

namespace skipstone::cuda {
namespace {

// The distribution after temperature.
struct Distribution {
  const float* logits;
  int vocab;
  float max;
  float temperature;

  __device__ float Weight(int id) const { return expf((logits[id] - max) / temperature); }
  __device__ uint64_t Fixed(int id) const {
    return static_cast<uint64_t>(Weight(id) * static_cast<float>(uint64_t{1} << 44));
  }
};

// Of the logits that one thread reads, on their way: NaN and infinity minus themselves are NaN, and
// it stays.
struct FiniteCheck {
  float differences = 0;

  __device__ float See(float logit) {
    differences += logit - logit;
    return logit;
  }
  // What all threads have seen was finite.
  __device__ bool All(SelectScratch& scratch) const {
    const uint64_t broken = differences == 0 ? 0 : 1;
    return BlockReduce(broken, uint64_t{0}, Max(), scratch.keys) == 0;
  }
};

// Which ids may be drawn.
struct Kept {
  uint64_t least_key;
  float least_weight;
};

// Bias, suppression, penalties: the row itself, which `check` has not seen then, if the slot has
// none of them.
__device__ const float* Adjust(const SlotTables& tables, int slot, const SlotSampling& state,
                               const float* logits, float* scratch, FiniteCheck& check) {
  const bool suppresses = state.has_suppressed && state.output_tokens < state.min_tokens;
  if (!state.has_bias && !suppresses && !state.has_penalties) return logits;
  const int64_t first = static_cast<int64_t>(slot) * tables.vocab;
  for (int id = threadIdx.x; id < tables.vocab; id += blockDim.x) {
    float logit = check.See(logits[id]);
    if (state.has_bias) logit += tables.bias[first + id];
    const uint32_t seen = suppresses || state.has_penalties ? tables.tokens[first + id] : 0;
    if (suppresses && (seen & kSuppressed) != 0) logit = -INFINITY;
    if (state.has_penalties && (seen & ~kSuppressed) != 0) {
      logit = logit > 0 ? logit / state.repetition_penalty : logit * state.repetition_penalty;
      const uint32_t count = seen & kOutputCount;
      if (count > 0) {
        logit -= state.presence_penalty;
        logit -= state.frequency_penalty * static_cast<float>(count);
      }
    }
    scratch[id] = logit;
  }
  __syncthreads();
  return scratch;
}

__device__ Kept Truncate(const Distribution& all, const SlotSampling& state,
                         SelectScratch& scratch) {
  Kept kept = {0, state.min_p};
  const auto one = [](int) { return uint64_t{1}; };
  if (state.top_k > 0 && state.top_k < all.vocab) {
    kept.least_key = SelectKey(all.logits, all.vocab, 0, one, state.top_k, scratch);
  }
  if (state.top_p < 1.0f) {
    const auto fixed = [&](int id) { return all.Fixed(id); };
    const Sums total = SumFrom(all.logits, all.vocab, kept.least_key, {0, 0, 0}, fixed, scratch);
    const double goal = ceil(static_cast<double>(state.top_p) * static_cast<double>(total.of[0]));
    kept.least_key = SelectKey(all.logits, all.vocab, kept.least_key, fixed,
                               goal > 1 ? static_cast<uint64_t>(goal) : 1, scratch);
  }
  return kept;
}

// Inverts the cumulative distribution of the kept ids, ascending. Each thread owns consecutive ids.
__device__ int Draw(const Distribution& all, const Kept& kept, float uniform,
                    SelectScratch& scratch) {
  __shared__ int drawn;
  const int threads = blockDim.x;
  const int each = (all.vocab + threads - 1) / threads;
  const int begin = min(static_cast<int>(threadIdx.x) * each, all.vocab);
  const int end = min(begin + each, all.vocab);
  const auto weight = [&](int id) -> uint64_t {
    if (KeyOf(all.logits[id], id) < kept.least_key) return 0;
    return all.Weight(id) >= kept.least_weight ? all.Fixed(id) : 0;
  };
  uint64_t own = 0;
  for (int id = begin; id < end; ++id) own += weight(id);
  // The sum over the threads before this one: over the lanes, then over the warps.
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  uint64_t before = own;
  for (int offset = 1; offset < 32; offset *= 2) {
    const uint64_t other = __shfl_up_sync(kAllLanes, before, offset);
    if (lane >= offset) before += other;
  }
  if (lane == 31) scratch.keys[warp] = before;
  if (threadIdx.x == 0) drawn = 0;
  __syncthreads();
  before -= own;
  uint64_t total = 0;
  for (int w = 0; w < threads / 32; ++w) {
    if (w < warp) before += scratch.keys[w];
    total += scratch.keys[w];
  }
  // uniform is a multiple of 2^-24 below 1.
  const uint64_t target = __umul64hi(static_cast<uint64_t>(uniform * 0x1p24f) << 40, total);
  if (before <= target && target < before + own) {
    int id = begin;
    for (uint64_t sum = before + weight(id); sum <= target; sum += weight(id)) ++id;
    drawn = id;
  }
  __syncthreads();
  return drawn;
}

// The largest logit's id.
__device__ int Likeliest(const float* logits, int vocab, FiniteCheck& check,
                         SelectScratch& scratch) {
  uint64_t best = 0;
  for (int id = threadIdx.x; id < vocab; id += blockDim.x) {
    const uint64_t key = KeyOf(check.See(logits[id]), id);
    if (key > best) best = key;
  }
  return IdOf(BlockReduce(best, uint64_t{0}, Max(), scratch.keys));
}

// `best` is the id of the largest logit.
__device__ int SampleToken(const float* logits, int vocab, int best, const SlotSampling& state,
                           int position, SelectScratch& scratch) {
  const float max = logits[best];
  if (state.temperature == 0.0f || max == -INFINITY) return best;
  const Distribution all{logits, vocab, max, state.temperature};
  const Kept kept = Truncate(all, state, scratch);
  const float uniform = UniformDraw({.seed = state.seed,
                                     .output_index = state.output_index,
                                     .position = static_cast<uint32_t>(position)});
  return Draw(all, kept, uniform, scratch);
}

// max + log(sum(exp(logits - max))).
__device__ float LogSum(const float* logits, int vocab, FiniteCheck& check,
                        SelectScratch& scratch) {
  float max = -FLT_MAX;
  for (int id = threadIdx.x; id < vocab; id += blockDim.x) max = fmaxf(max, check.See(logits[id]));
  max = BlockReduce(max, -FLT_MAX, Max(), scratch.floats);
  float sum = 0;
  for (int id = threadIdx.x; id < vocab; id += blockDim.x) sum += expf(logits[id] - max);
  return max + logf(BlockReduce(sum, 0.0f, Add(), scratch.floats));
}

__global__ void __launch_bounds__(kMaxSampleThreads) SampleKernel(SampleArgs args) {
  __shared__ SelectScratch scratch;
  WaitForPrevious();
  const RowView rows = args.source.Of(args.step);
  if (static_cast<int>(blockIdx.x) >= rows.count) return;
  const bool compared = args.source.kind == ListKind::kCompared;
  if (compared && args.step->At<int32_t>(args.step->references)[args.source.first + blockIdx.x] ==
                      kNotReduced) {
    return;
  }
  const int row = rows[blockIdx.x];
  const DeviceLogitsRow want = args.step->At<DeviceLogitsRow>(args.step->logits)[row];
  const int vocab = args.tables.vocab;
  const float* logits = args.logits + static_cast<int64_t>(blockIdx.x) * vocab;
  FiniteCheck check;
  DeviceLogitsResult result = {1, -1, 0, 0, 0};
  if (want.sample != 0) {
    const SlotSampling state = args.tables.slots[want.slot];
    const float* adjusted = Adjust(args.tables, want.slot, state, logits,
                                   args.scratch + static_cast<int64_t>(blockIdx.x) * vocab, check);
    FiniteCheck suppressed_too;  // adjusted logits may be infinite
    const int best =
        Likeliest(adjusted, vocab, adjusted == logits ? check : suppressed_too, scratch);
    result.finite = check.All(scratch);
    // An id in any case: the slot's next row may be on its way.
    result.sampled =
        result.finite ? SampleToken(adjusted, vocab, best, state, want.position, scratch) : 0;
    __syncthreads();  // all threads have read the state
    if (threadIdx.x == 0) {
      SlotSampling& slot = args.tables.slots[want.slot];
      slot.last_token = result.sampled;
      slot.output_tokens = state.output_tokens + 1;
      if (state.has_penalties) {
        args.tables.tokens[static_cast<int64_t>(want.slot) * vocab + result.sampled] += 1;
      }
    }
  }
  if (want.top_n >= 0 || want.target >= 0) {
    const float log_sum = LogSum(logits, vocab, check, scratch);
    result.finite = check.All(scratch);
    if (result.sampled >= 0) result.sampled_logprob = logits[result.sampled] - log_sum;
    if (want.target >= 0) result.target_logprob = logits[want.target] - log_sum;
    uint64_t key = ~uint64_t{0};
    for (int n = 0; n < want.top_n; ++n) {
      key = LargestKey(logits, vocab, key, scratch);
      if (threadIdx.x != 0) continue;
      args.top[want.top_first + n] = {IdOf(key), logits[IdOf(key)] - log_sum};
    }
  }
  if (threadIdx.x == 0) args.results[row] = result;
}

}  // namespace

cudaError_t LaunchSample(const SampleArgs& args, int rows, cudaStream_t stream) {
  // A small vocabulary has no work for more.
  const int threads = std::min(kMaxSampleThreads, (args.tables.vocab + 31) / 32 * 32);
  return Launch(SampleKernel, {.grid = dim3(rows), .threads = threads}, stream, args);
}

}  // namespace skipstone::cuda
