// What a test of one kernel needs: a stream, steps and arrays on the device, and how far a result
// is from its reference.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "base/check.h"
#include "engine/cuda/cuda_backend.h"
#include "engine/cuda/step/slot_uploads.h"
#include "engine/cuda/step/step_upload.h"
#include "tests/engine/cpu/stage_model.h"

namespace skipstone::cuda {

inline float ToFloatOf(DType type, uint16_t bits) {
  return type == DType::kBF16 ? FromBf16(bits) : FromF16(bits);
}

// Random 16-bit numbers: the bits for the device, the values for the reference.
struct Numbers {
  Numbers(DType type, size_t count, uint64_t seed, float scale = 1.0f) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal(0.0f, scale);
    for (size_t i = 0; i < count; ++i) {
      const float x = normal(random);
      bits.push_back(type == DType::kBF16 ? ToBf16(x) : ToF16(x));
      values.push_back(ToFloatOf(type, bits.back()));
    }
  }
  std::vector<uint16_t> bits;
  std::vector<float> values;
};

inline std::vector<float> ToFloats(DType type, const std::vector<uint16_t>& bits) {
  std::vector<float> out;
  for (const uint16_t b : bits) out.push_back(ToFloatOf(type, b));
  return out;
}

// An array on the device.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) : count_(values.size()) {
    auto memory = DeviceMemory::Allocate(static_cast<int64_t>(count_ * sizeof(T)), "a test");
    SKIPSTONE_CHECK(memory.ok());
    memory_ = *std::move(memory);
    SKIPSTONE_CHECK(cudaDeviceSynchronize() == cudaSuccess);
    SKIPSTONE_CHECK(cudaMemcpy(get(), values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice) ==
                    cudaSuccess);
  }
  T* get() const { return memory_.as<T>(); }
  std::vector<T> Read() const {
    std::vector<T> out(count_);
    SKIPSTONE_CHECK(cudaDeviceSynchronize() == cudaSuccess);
    SKIPSTONE_CHECK(cudaMemcpy(out.data(), get(), count_ * sizeof(T), cudaMemcpyDeviceToHost) ==
                    cudaSuccess);
    return out;
  }

 private:
  size_t count_;
  DeviceMemory memory_;
};

// NaN in every element.
inline std::vector<uint16_t> Poison16(size_t count) { return std::vector<uint16_t>(count, 0xffff); }

class KernelTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!HasCudaDevice()) GTEST_SKIP() << "no device";
    stream_ = *Stream::Create();
  }

  // The step on the device; valid until the next call.
  const StepHeader* Upload(const ModelShape& shape, const StepInput& step, int target_items = 4) {
    const StepLimits limits{.max_rows = 256, .max_logits_rows = 256, .max_slots = 8};
    upload_ = *StepUpload::Create(StepWriter(shape, limits, DecodeSplit(target_items)));
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    upload_.Upload(step, stream_.get(), error_);
    return upload_.device_step();
  }

  // ‖out - reference‖ / ‖reference‖ of the worst row of `width` elements, printed and bounded.
  static void ExpectClose(const char* what, const std::vector<float>& out,
                          const std::vector<double>& reference, size_t width, double bound) {
    ASSERT_EQ(out.size(), reference.size());
    double worst = 0;
    for (size_t row = 0; row < out.size(); row += width) {
      double difference = 0;
      double norm = 0;
      for (size_t i = row; i < row + width; ++i) {
        difference += (out[i] - reference[i]) * (out[i] - reference[i]);
        norm += reference[i] * reference[i];
      }
      const double error = difference == 0 ? 0 : std::sqrt(difference / norm);
      worst = error <= worst ? worst : error;  // NaN counts
    }
    std::printf("%s: relative error %.2e\n", what, worst);
    EXPECT_LE(worst, bound) << what;
  }

  DType type() const { return GetParam(); }
  // Of one rounding to 16 bits, with room.
  double rounding() const { return type() == DType::kBF16 ? 4e-3 : 5e-4; }

  Stream stream_;
  StepUpload upload_;
  DeviceError error_;
};

}  // namespace skipstone::cuda
