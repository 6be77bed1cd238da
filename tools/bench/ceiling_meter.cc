#include "tools/bench/ceiling_meter.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "engine/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tools/bench/ceiling_meter.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace skipstone {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <int kStreams>
float ReadStreamsOf(const uint32_t* data, int64_t n) {
  const hn::ScalableTag<uint32_t> d;
  const int64_t lanes = hn::Lanes(d);
  const int64_t part = n / kStreams;
  // Integer additions: one cycle, so that two accumulators per stream never wait.
  auto a = hn::Zero(d);
  auto b = hn::Zero(d);
  for (int64_t i = 0; i < part; i += 2 * lanes) {
    for (int s = 0; s < kStreams; ++s) {
      a = hn::Add(a, hn::LoadU(d, data + s * part + i));
      b = hn::Add(b, hn::LoadU(d, data + s * part + i + lanes));
    }
  }
  // As floats, since sums of integers over lanes overflow, which some targets do as signed ones.
  const hn::ScalableTag<float> sums;
  const hn::ScalableTag<int32_t> signed_d;
  return hn::GetLane(
      hn::SumOfLanes(sums, hn::ConvertTo(sums, hn::BitCast(signed_d, hn::Add(a, b)))));
}

// Reads n bytes, a multiple of 4096, as `streams` (1, 2 or 4) parallel sequential streams; returns
// a sum, so that the reads happen.
float ReadStreamsTarget(const void* data, int64_t n, int streams) {
  const auto* words = static_cast<const uint32_t*>(data);
  n /= static_cast<int64_t>(sizeof(uint32_t));
  if (streams == 4) return ReadStreamsOf<4>(words, n);
  if (streams == 2) return ReadStreamsOf<2>(words, n);
  return ReadStreamsOf<1>(words, n);
}

// Runs `iterations` rounds of independent multiply-adds of f32 vectors in registers; *flops is what
// they were (a multiply-add is two). Returns a sum.
//
// 12 chains cover a latency of 4 cycles on 2 units (8) and of 6 on 2 (12); named variables, since
// GCC keeps an array in memory.
float MultiplyAddsTarget(int64_t iterations, double* flops) {
  const hn::ScalableTag<float> d;
  const auto m = hn::Set(d, 0.5f);
  const auto a = hn::Set(d, 1.0f);
  // Different starts, or the compiler would compute one chain.
  auto v0 = hn::Iota(d, 0), v1 = hn::Iota(d, 1), v2 = hn::Iota(d, 2), v3 = hn::Iota(d, 3);
  auto v4 = hn::Iota(d, 4), v5 = hn::Iota(d, 5), v6 = hn::Iota(d, 6), v7 = hn::Iota(d, 7);
  auto v8 = hn::Iota(d, 8), v9 = hn::Iota(d, 9), v10 = hn::Iota(d, 10), v11 = hn::Iota(d, 11);
  for (int64_t i = 0; i < iterations; ++i) {
    v0 = hn::MulAdd(v0, m, a);
    v1 = hn::MulAdd(v1, m, a);
    v2 = hn::MulAdd(v2, m, a);
    v3 = hn::MulAdd(v3, m, a);
    v4 = hn::MulAdd(v4, m, a);
    v5 = hn::MulAdd(v5, m, a);
    v6 = hn::MulAdd(v6, m, a);
    v7 = hn::MulAdd(v7, m, a);
    v8 = hn::MulAdd(v8, m, a);
    v9 = hn::MulAdd(v9, m, a);
    v10 = hn::MulAdd(v10, m, a);
    v11 = hn::MulAdd(v11, m, a);
  }
  *flops = static_cast<double>(iterations) * 12 * 2 * hn::Lanes(d);
  const auto low = hn::Add(hn::Add(hn::Add(v0, v1), hn::Add(v2, v3)), hn::Add(v4, v5));
  const auto high = hn::Add(hn::Add(hn::Add(v6, v7), hn::Add(v8, v9)), hn::Add(v10, v11));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(low, high)));
}

}  // namespace HWY_NAMESPACE
}  // namespace skipstone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace skipstone {
namespace {

HWY_EXPORT(ReadStreamsTarget);
HWY_EXPORT(MultiplyAddsTarget);

// A task's share of the buffer: large against starting a task, small against the whole.
constexpr int64_t kPieceBytes = int64_t{1} << 20;
// About 20 ms of each thread.
constexpr int64_t kIterations = 4'000'000;
constexpr int kPiecesPerThread = 4;

// Bytes of the largest cache, from the system; 32 MiB where it does not say.
int64_t LastLevelCacheBytes() {
  int64_t bytes = 0;
  for (const int level : {_SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL4_CACHE_SIZE}) {
    bytes = std::max<int64_t>(bytes, sysconf(level));
  }
  return bytes > 0 ? bytes : int64_t{32} << 20;
}

}  // namespace

CeilingMeter::CeilingMeter(int threads, int64_t max_bytes) : pool_(threads) {
  const int64_t bytes = std::min(8 * LastLevelCacheBytes(), max_bytes) / kPieceBytes * kPieceBytes;
  buffer_ = Buffer::Map(std::max(bytes, kPieceBytes));
  SKIPSTONE_CHECK(buffer_.as<char>() != nullptr);
  madvise(buffer_.as<char>(), buffer_.bytes(), MADV_HUGEPAGE);
  // Untouched memory would be one page of zeros, read from the cache.
  pool_.ParallelFor(buffer_.bytes() / kPieceBytes, [&](int64_t piece, int) {
    std::memset(buffer_.as<char>() + piece * kPieceBytes, 1, kPieceBytes);
  });
}

Ceilings CeilingMeter::Measure() {
  Ceilings best;
  for (const int streams : {1, 2, 4}) {
    best.bytes_per_s = std::max(best.bytes_per_s, ReadBandwidth(streams));
  }
  best.flops_per_s = MultiplyAddRate();
  return best;
}

double CeilingMeter::ReadBandwidth(int streams) {
  std::atomic<float> sink = 0;
  const Time start = SystemClock().Now();
  pool_.ParallelFor(buffer_.bytes() / kPieceBytes, [&](int64_t piece, int) {
    sink = HWY_DYNAMIC_DISPATCH(ReadStreamsTarget)(buffer_.as<char>() + piece * kPieceBytes,
                                                   kPieceBytes, streams);
  });
  return static_cast<double>(buffer_.bytes()) / Seconds(SystemClock().Now() - start);
}

double CeilingMeter::MultiplyAddRate() {
  const int64_t pieces = int64_t{kPiecesPerThread} * pool_.num_threads();
  std::vector<double> flops(pieces);
  std::atomic<float> sink = 0;
  const Time start = SystemClock().Now();
  pool_.ParallelFor(pieces, [&](int64_t piece, int) {
    sink = HWY_DYNAMIC_DISPATCH(MultiplyAddsTarget)(kIterations / kPiecesPerThread, &flops[piece]);
  });
  const double seconds = Seconds(SystemClock().Now() - start);
  double sum = 0;
  for (const double f : flops) sum += f;
  return sum / seconds;
}

}  // namespace skipstone
#endif
