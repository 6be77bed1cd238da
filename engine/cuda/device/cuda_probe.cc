#include "engine/cuda/device/cuda_probe.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/status.h"
#include "engine/cuda/kernels/random_fill.h"
#include "engine/cuda/kernels/read_stream.h"

namespace skipstone::cuda {
namespace {

// Long against the resolution of an event, short enough that all samples take 0.3 s.
constexpr double kSampleSeconds = 0.01;
// What a product can keep up is less than its first milliseconds: clocks follow the power.
constexpr double kLongSampleSeconds = 0.1;
constexpr double kMostCalls = 1000;
constexpr int64_t kUnit = 4096;   // of the buffer's size
constexpr int64_t kWidth = 4096;  // gives its numbers the size of weights

constexpr int kLoads[] = {4, 8, 16};  // of the read kernel

constexpr int kLargestSquare = 8192;  // beyond it the rate no longer grows
constexpr int kSquareUnit = 128;      // a tile of the library's kernels

absl::StatusOr<int> Attribute(cudaDeviceAttr attribute) {
  int device = 0;
  int value = 0;
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(cudaGetDevice(&device), "cudaGetDevice"));
  SKIPSTONE_RETURN_IF_ERROR(
      ToStatus(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute"));
  return value;
}

}  // namespace

// Those of a prefill of Llama-2-7B that fit into a buffer (QKV, gate and up, down), and the largest
// square that does.
std::vector<CudaProbe::Product> CudaProbe::ProductsIn(int64_t bytes) {
  const double third = static_cast<double>(bytes) / (3 * 2);
  const int n =
      std::min(kLargestSquare, static_cast<int>(std::sqrt(third)) / kSquareUnit * kSquareUnit);
  std::vector<Product> products{{n, n, n}};
  for (const Product& product :
       {Product{2048, 12288, 4096}, Product{2048, 22016, 4096}, Product{2048, 4096, 11008}}) {
    if (product.Bytes() <= bytes) products.push_back(product);
  }
  return products;
}

absl::Status CudaProbe::Prepare() {
  if (buffer_.bytes() > 0) return absl::OkStatus();
  SKIPSTONE_ASSIGN_OR_RETURN(multiprocessors_, Attribute(cudaDevAttrMultiProcessorCount));
  SKIPSTONE_ASSIGN_OR_RETURN(const int l2_bytes, Attribute(cudaDevAttrL2CacheSize));
  SKIPSTONE_ASSIGN_OR_RETURN(start_, Event::CreateTimed());
  SKIPSTONE_ASSIGN_OR_RETURN(end_, Event::CreateTimed());
  if (!products_) {
    SKIPSTONE_ASSIGN_OR_RETURN(products_, LtMatMul::Create(tuning_cache_));
  }
  const int64_t most_blocks = int64_t{multiprocessors_} * ReadStreamResident(kLoads[0]);
  SKIPSTONE_ASSIGN_OR_RETURN(
      sums_, DeviceMemory::Allocate(most_blocks * kReadStreamWarps * 4, "the ceilings' sums"));
  const int64_t bytes = int64_t{kL2Caches} * l2_bytes / kUnit * kUnit;
  SKIPSTONE_ASSIGN_OR_RETURN(DeviceMemory buffer,
                             DeviceMemory::Allocate(bytes, "measuring the ceilings"));
  for (const Product& product : ProductsIn(bytes)) {
    SKIPSTONE_RETURN_IF_ERROR(products_->Tune(product.Shape(weights_.type()), buffer.as<void>(),
                                              {buffer, buffer}, stream_));
  }
  products_->Seal();
  // After the tuning, which clears. Constant numbers would cost less power, and let the clock rise.
  SKIPSTONE_RETURN_IF_ERROR(
      ToStatus(LaunchRandomFill({.type = weights_.type(), .seed = 1, .inputs = kWidth}, bytes / 2,
                                buffer.as<void>(), stream_),
               "random_fill"));
  buffer_ = std::move(buffer);
  return absl::OkStatus();
}

absl::StatusOr<double> CudaProbe::SecondsOf(int calls, const Enqueue& enqueue) {
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(start_.Record(stream_), "cudaEventRecord"));
  for (int i = 0; i < calls; ++i) SKIPSTONE_RETURN_IF_ERROR(enqueue());
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(end_.Record(stream_), "cudaEventRecord"));
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(end_.Wait(), "measuring the ceilings"));
  return end_.SecondsSince(start_);
}

// After one call to warm up and one that tells how many to time.
absl::StatusOr<double> CudaProbe::SecondsPerCall(const Enqueue& enqueue, double sample_seconds) {
  SKIPSTONE_RETURN_IF_ERROR(enqueue());
  SKIPSTONE_ASSIGN_OR_RETURN(const double once, SecondsOf(1, enqueue));
  const auto calls =
      static_cast<int>(std::clamp(std::ceil(sample_seconds / once), 1.0, kMostCalls));
  SKIPSTONE_ASSIGN_OR_RETURN(const double seconds, SecondsOf(calls, enqueue));
  return seconds / calls;
}

// The best of the read kernel's variants and of a copy, which reads half and writes half.
absl::StatusOr<double> CudaProbe::BytesPerSecond() {
  const ReadStreamArgs args{
      .from = buffer_.as<void>(), .bytes = buffer_.bytes(), .sums = sums_.as<uint32_t>()};
  const int64_t half = buffer_.bytes() / 2;
  char* const data = buffer_.as<char>();
  SKIPSTONE_ASSIGN_OR_RETURN(
      double least_seconds,
      SecondsPerCall(
          [&] {
            return ToStatus(
                cudaMemcpyAsync(data + half, data, half, cudaMemcpyDeviceToDevice, stream_),
                "copy of the ceilings");
          },
          kSampleSeconds));
  for (const int loads : kLoads) {
    for (int blocks = 1; blocks <= ReadStreamResident(loads); blocks *= 2) {
      SKIPSTONE_ASSIGN_OR_RETURN(
          const double seconds,
          SecondsPerCall(
              [&] {
                return ToStatus(LaunchReadStream(args, loads, blocks * multiprocessors_, stream_),
                                "read_stream");
              },
              kSampleSeconds));
      least_seconds = std::min(least_seconds, seconds);
    }
  }
  return static_cast<double>(args.BytesMoved()) / least_seconds;
}

// By its fastest algorithm. Weight and input lie at the buffer's start, the output at its end, so
// that the next product's inputs are no sums.
absl::StatusOr<double> CudaProbe::FlopsOf(const Product& product, double sample_seconds) {
  char* const data = buffer_.as<char>();
  const LtOperands operands{data, data + product.WeightBytes(),
                            data + buffer_.bytes() - product.OutputBytes()};
  SKIPSTONE_ASSIGN_OR_RETURN(
      const double seconds,
      SecondsPerCall(
          [&] { return products_->Run(product.Shape(weights_.type()), operands, stream_); },
          sample_seconds));
  return product.Flops() / seconds;
}

// Of the best product, which the first call finds.
absl::StatusOr<double> CudaProbe::FlopsPerSecond() {
  if (!fastest_) {
    double best = 0;
    for (const Product& product : ProductsIn(buffer_.bytes())) {
      SKIPSTONE_ASSIGN_OR_RETURN(const double flops, FlopsOf(product, kSampleSeconds));
      if (flops > best) fastest_ = product;
      best = std::max(best, flops);
    }
  }
  return FlopsOf(*fastest_, kLongSampleSeconds);
}

absl::StatusOr<Ceilings> CudaProbe::MeasureCeilings() {
  SKIPSTONE_RETURN_IF_ERROR(Prepare());
  Ceilings ceilings;
  SKIPSTONE_ASSIGN_OR_RETURN(ceilings.bytes_per_s, BytesPerSecond());
  SKIPSTONE_ASSIGN_OR_RETURN(ceilings.flops_per_s, FlopsPerSecond());
  return ceilings;
}

void CudaProbe::Mark() {
  if (num_marks_ == marks_.size()) {
    absl::StatusOr<Event> mark = Event::CreateTimed();
    if (!mark.ok()) return error_.Note(mark.status());
    marks_.push_back(*std::move(mark));
  }
  error_.Note(marks_[num_marks_++].Record(stream_), "cudaEventRecord");
}

absl::StatusOr<std::vector<double>> CudaProbe::TakeLaps() {
  const size_t marks = std::exchange(num_marks_, 0);
  SKIPSTONE_RETURN_IF_ERROR(error_.status());
  std::vector<double> laps;
  if (marks == 0) return laps;
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(marks_[marks - 1].Wait(), "waiting for a mark"));
  for (size_t i = 1; i < marks; ++i) {
    SKIPSTONE_ASSIGN_OR_RETURN(const double seconds, marks_[i].SecondsSince(marks_[i - 1]));
    laps.push_back(seconds);
  }
  return laps;
}

}  // namespace skipstone::cuda
