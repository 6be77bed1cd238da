#include "tools/bench/ceiling_meter.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "tools/bench/ceiling_kernels.h"

namespace skipstone {
namespace {

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
    sink = ReadStreams(buffer_.as<char>() + piece * kPieceBytes, kPieceBytes, streams);
  });
  return static_cast<double>(buffer_.bytes()) / Seconds(SystemClock().Now() - start);
}

double CeilingMeter::MultiplyAddRate() {
  const int64_t pieces = int64_t{kPiecesPerThread} * pool_.num_threads();
  std::vector<double> flops(pieces);
  std::atomic<float> sink = 0;
  const Time start = SystemClock().Now();
  pool_.ParallelFor(pieces, [&](int64_t piece, int) {
    sink = MultiplyAdds(kIterations / kPiecesPerThread, &flops[piece]);
  });
  const double seconds = Seconds(SystemClock().Now() - start);
  double sum = 0;
  for (const double f : flops) sum += f;
  return sum / seconds;
}

}  // namespace skipstone
