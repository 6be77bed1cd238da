#include "engine/cpu/rope_table.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/cpu/random_floats.h"

namespace skipstone {
namespace {

TEST(RopeTableTest, RotatesByFloat64sAngles) {
  for (const int dim : {8, 24, 64, 128}) {
    for (const float theta : {10000.0f, 500000.0f}) {
      constexpr int kHeads = 3;
      constexpr int kContext = 5000;
      const RopeTable rope({.head_dim = dim, .max_context = kContext, .rope_theta = theta});
      for (const int position : {0, 1, 2, 63, 64, 1000, kContext - 1}) {
        std::vector<float> x = RandomFloats(kHeads * dim, position);
        const std::vector<float> before = x;
        rope.Apply(position, kHeads, x.data());
        for (int h = 0; h < kHeads; ++h) {
          for (int i = 0; i < dim / 2; ++i) {
            const double angle = position * std::pow(double{theta}, -2.0 * i / dim);
            const double a = before[h * dim + i];
            const double b = before[h * dim + dim / 2 + i];
            ASSERT_NEAR(x[h * dim + i], a * std::cos(angle) - b * std::sin(angle), 1e-6)
                << "position " << position << " pair " << i << " of " << dim;
            ASSERT_NEAR(x[h * dim + dim / 2 + i], b * std::cos(angle) + a * std::sin(angle), 1e-6)
                << "position " << position << " pair " << i << " of " << dim;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace skipstone
