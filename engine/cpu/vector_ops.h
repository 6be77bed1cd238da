// Operations on one row of floats, each with one fixed order of additions. Thread-safe.
#pragma once

#include <cstdint>

#include "engine/backend/tensor.h"

namespace skipstone {

// out[i] = in[i] as f32; `in` holds n elements of `type`, at any alignment.
void ToFloat(const void* in, DType type, int64_t n, float* out);

// out = in / sqrt(mean(in^2) + epsilon) * weight.
void RmsNorm(const float* in, const float* weight, float epsilon, int64_t n, float* out);

// gate = gate / (1 + exp(-gate)) * up.
void SwiGlu(const float* up, int64_t n, float* gate);

// out += in.
void AddTo(const float* in, int64_t n, float* out);

// x += RmsNorm(x) * scale, elementwise, + bias, which may be null.
void AddScaledNorm(const float* weight, float epsilon, const float* scale, const float* bias,
                   int64_t n, float* x);

// out = in * factor. `out` may be `in`.
void Scale(const float* in, float factor, int64_t n, float* out);

// Rotates the pairs (x[i], x[i + half]) of each of `heads` heads of 2 * half floats by the angles
// whose cosines and sines are given [half].
void Rotate(const float* cosines, const float* sines, int heads, int half, float* x);

float MaxOf(const float* in, int64_t n);  // -infinity if n is 0

struct Extent {
  float max;    // if all are finite
  bool finite;  // none is NaN or infinite
};
// n >= 1.
Extent ExtentOf(const float* in, int64_t n);

// Of x = p - max_p and y = q - max_q: sums of exp(x), of exp(y) and of exp(x) * (x - y).
struct DivergenceSums {
  double p = 0;
  double q = 0;
  double weighted = 0;
};
DivergenceSums SumsOfDivergence(const float* p, float max_p, const float* q, float max_q,
                                int64_t n);

// out = exp(in - max); returns the sum. `out` may be `in`.
float ExpAndSum(const float* in, float max, int64_t n, float* out);
// The sum alone.
float SumOfExp(const float* in, float max, int64_t n);

}  // namespace skipstone
