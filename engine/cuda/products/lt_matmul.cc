#include "engine/cuda/products/lt_matmul.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/cuda/device/device_error.h"
#include "engine/cuda/device/stream.h"

namespace skipstone::cuda {
namespace {

constexpr int kMinRange = 32;    // rows; lists of up to 16 seldom come here
constexpr int kSuggestions = 8;  // that are timed: about a second at start-up for a model
constexpr int kRuns = 5;         // of each; the median leaves out two that were disturbed
constexpr int kFill = 0x3c;      // bytes that make small positive numbers of either type

LtShape RangeOf(LtShape shape) {
  shape.rows =
      std::max(kMinRange, static_cast<int>(std::bit_ceil(static_cast<uint32_t>(shape.rows))));
  return shape;
}

// The rows of such a product that the scratch memory holds.
int RowsOf(const LtShape& shape, const LtScratch& scratch) {
  const int64_t y_bytes = int64_t{shape.y_stride} * (shape.f32_output ? 4 : 2);
  return static_cast<int>(std::min({int64_t{shape.rows}, scratch.y.bytes() / y_bytes,
                                    scratch.x.bytes() / (int64_t{2} * shape.inputs)}));
}

class Stopwatch {
 public:
  Stopwatch(const LtProduct& product, const void* weight, const LtScratch& scratch,
            cudaStream_t stream)
      : product_(product),
        scratch_(scratch),
        operands_{weight, scratch.x.as<void>(), scratch.y.as<void>()},
        stream_(stream) {}

  absl::Status Prepare() {
    SKIPSTONE_ASSIGN_OR_RETURN(start_, Event::CreateTimed());
    SKIPSTONE_ASSIGN_OR_RETURN(stop_, Event::CreateTimed());
    return absl::OkStatus();
  }
  // Of the first run, which also loads the kernel, only the success counts.
  bool Runs(const cublasLtMatmulAlgo_t& algorithm) const {
    return product_.Run(algorithm, operands_, stream_).ok();
  }

  // Microseconds with the weights in memory and x in the L2 cache, as a step finds them. The
  // clearing also keeps the device busy until the product is enqueued.
  absl::StatusOr<double> Time(const cublasLtMatmulAlgo_t& algorithm) const {
    const LtShape& shape = product_.shape();
    const auto x_bytes = static_cast<size_t>(shape.rows) * shape.inputs * 2;
    DeviceError error;
    error.Note(cudaMemsetAsync(operands_.y, kFill, scratch_.y.bytes(), stream_), "cudaMemset");
    error.Note(cudaMemsetAsync(scratch_.x.as<void>(), kFill, x_bytes, stream_), "cudaMemset");
    error.Note(start_.Record(stream_), "cudaEventRecord");
    error.Note(product_.Run(algorithm, operands_, stream_));
    error.Note(stop_.Record(stream_), "cudaEventRecord");
    error.Note(stop_.Wait(), "timing a product");
    SKIPSTONE_RETURN_IF_ERROR(error.status());
    SKIPSTONE_ASSIGN_OR_RETURN(const double seconds, stop_.SecondsSince(start_));
    return seconds * 1e6;
  }

 private:
  const LtProduct& product_;
  const LtScratch& scratch_;
  const LtOperands operands_;
  const cudaStream_t stream_;
  Event start_;
  Event stop_;
};

struct Candidate {
  cublasLtMatmulAlgo_t algorithm;
  std::array<double, kRuns> us;

  double Median() const {
    std::array<double, kRuns> sorted = us;
    std::sort(sorted.begin(), sorted.end());
    return sorted[kRuns / 2];
  }
};

absl::StatusOr<TunedAlgorithm> Fastest(const std::vector<cublasLtMatmulAlgo_t>& algorithms,
                                       const Stopwatch& watch) {
  std::vector<Candidate> candidates;
  for (const cublasLtMatmulAlgo_t& algorithm : algorithms) {
    if (watch.Runs(algorithm)) candidates.push_back({algorithm, {}});
  }
  if (candidates.empty()) return absl::InternalError("cuBLASLt runs none of its suggestions");
  // In turns, so that a change of clocks meets them all.
  for (int run = 0; run < kRuns; ++run) {
    for (Candidate& candidate : candidates) {
      SKIPSTONE_ASSIGN_OR_RETURN(candidate.us[run], watch.Time(candidate.algorithm));
    }
  }
  const auto best = std::min_element(
      candidates.begin(), candidates.end(),
      [](const Candidate& a, const Candidate& b) { return a.Median() < b.Median(); });
  return TunedAlgorithm{best->algorithm, best->Median()};
}

}  // namespace

absl::StatusOr<LtMatMul> LtMatMul::Create(const std::string& tuning_cache) {
  SKIPSTONE_RETURN_IF_ERROR(LoadCublasLt());
  LtMatMul made;
  cublasLtHandle_t handle = nullptr;
  SKIPSTONE_RETURN_IF_ERROR(LtStatus(cublasLtCreate(&handle), "cublasLtCreate"));
  made.handle_.reset(handle);
  SKIPSTONE_ASSIGN_OR_RETURN(made.workspace_,
                             DeviceMemory::Allocate(kLtWorkspaceBytes, "the products' workspace"));
  made.known_ = TuningCache(tuning_cache);
  return made;
}

absl::Status LtMatMul::Tune(const LtShape& shape, const void* weight, const LtScratch& scratch,
                            cudaStream_t stream) {
  const LtShape range = RangeOf(shape);
  const int rows = RowsOf(range, scratch);
  if (sealed_ || entries_.contains(range) || rows < shape.rows) return absl::OkStatus();
  SKIPSTONE_ASSIGN_OR_RETURN(LtProduct product, LtProduct::Create(library(), range));
  SKIPSTONE_RETURN_IF_ERROR(product.SetRows(rows));
  const TunedAlgorithm* known = known_.Find(range);
  if (known != nullptr && product.Fits(known->algorithm)) return absl::OkStatus();
  const auto suggestions = product.Suggest(kSuggestions);
  if (!suggestions.ok()) return absl::OkStatus();  // Run asks again, for its own row count
  Stopwatch watch(product, weight, scratch, stream);
  SKIPSTONE_RETURN_IF_ERROR(watch.Prepare());
  SKIPSTONE_ASSIGN_OR_RETURN(const TunedAlgorithm fastest, Fastest(*suggestions, watch));
  known_.Set(range, fastest);
  return absl::OkStatus();
}

absl::StatusOr<LtMatMul::Entry*> LtMatMul::EntryOf(const LtShape& shape) {
  const LtShape range = RangeOf(shape);
  if (const auto found = entries_.find(range); found != entries_.end()) return &found->second;
  SKIPSTONE_ASSIGN_OR_RETURN(LtProduct product, LtProduct::Create(library(), shape));
  Entry entry{.product = std::move(product)};
  if (const TunedAlgorithm* known = known_.Find(range)) {
    entry.chosen = known->algorithm;
  } else {
    SKIPSTONE_ASSIGN_OR_RETURN(const auto suggested, entry.product.Suggest(1));
    entry.chosen = suggested[0];
  }
  return &entries_.emplace(range, std::move(entry)).first->second;
}

// Only the last row count is remembered: to ask whether an algorithm fits takes a microsecond or
// so, and that it does not is rare.
absl::Status LtMatMul::SetRows(Entry& entry, int rows) {
  if (entry.rows == rows) return absl::OkStatus();
  entry.rows = 0;
  SKIPSTONE_RETURN_IF_ERROR(entry.product.SetRows(rows));
  entry.current = entry.chosen;
  if (!entry.product.Fits(entry.chosen)) {
    SKIPSTONE_ASSIGN_OR_RETURN(const auto suggested, entry.product.Suggest(1));
    entry.current = suggested[0];
  }
  entry.rows = rows;
  return absl::OkStatus();
}

absl::Status LtMatMul::Run(const LtShape& shape, const LtOperands& operands, cudaStream_t stream) {
  SKIPSTONE_ASSIGN_OR_RETURN(Entry* const entry, EntryOf(shape));
  SKIPSTONE_RETURN_IF_ERROR(SetRows(*entry, shape.rows));
  const absl::Status run = entry->product.Run(entry->current, operands, stream);
  if (run.ok()) return run;
  // That an algorithm fits is no promise that it runs.
  SKIPSTONE_ASSIGN_OR_RETURN(const auto suggested, entry->product.Suggest(1));
  entry->current = suggested[0];
  return entry->product.Run(entry->current, operands, stream);
}

void LtMatMul::Seal() {
  sealed_ = true;
  known_.Save();
}

}  // namespace skipstone::cuda
