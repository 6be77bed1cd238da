#include "engine/cpu/dot_block.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/backend/random_fill.h"
#include "engine/backend/widen.h"
#include "engine/cpu/buffer.h"
#include "tests/engine/cpu/instruction_sets.h"
#include "tests/engine/cpu/random_floats.h"

namespace skipstone {
namespace {

constexpr DType kTypes[] = {DType::kF32, DType::kF16, DType::kBF16};
constexpr float kUntouched = -7777.0f;

// Inputs and outputs of a block, each a vector of its own, so that a read past one shows.
struct Operands {
  Operands(DType type, int rows, int num_outputs, int64_t k) : type(type), k(k) {
    for (int r = 0; r < rows; ++r) inputs.push_back(RandomFloats(k, r));
    for (int o = 0; o < num_outputs; ++o) {
      outputs.emplace_back(k * SizeOf(type));
      FillUniform({.type = type, .seed = 1000u + o * 100000u, .inputs = 1}, 0, k,
                  outputs.back().data());
    }
  }

  double Dot(int row, int output) const {
    double sum = 0;
    for (int64_t i = 0; i < k; ++i) {
      sum += double{inputs[row][i]} * ElementAt(outputs[output].data(), type, i);
    }
    return sum;
  }

  // Sums of rows [first, ...) with outputs [first_output, ...), by rows of `stride`.
  std::vector<float> Multiply(int first, int rows, int first_output, int num_outputs,
                              int stride) const {
    std::vector<std::vector<float>> arranged(inputs.begin() + first, inputs.begin() + first + rows);
    std::vector<const float*> in;
    for (std::vector<float>& row : arranged) {
      ArrangeInput(type, k, row.data());
      in.push_back(row.data());
    }
    std::vector<const void*> out;
    for (int o = 0; o < num_outputs; ++o) out.push_back(outputs[first_output + o].data());
    std::vector<float> sums(rows * stride, kUntouched);
    const Buffer scratch = Buffer::Map(kDotScratchFloats * sizeof(float));
    DotBlock({.inputs = in.data(),
              .rows = rows,
              .outputs = out.data(),
              .num_outputs = num_outputs,
              .type = type,
              .k = k,
              .sums = sums.data(),
              .sums_stride = stride,
              .scratch = scratch.as<float>()});
    return sums;
  }

  DType type;
  int64_t k;
  std::vector<std::vector<float>> inputs;
  std::vector<std::vector<char>> outputs;
};

class DotBlockTest : public InstructionSetTest {};

TEST_P(DotBlockTest, GivesTheSumsOfFloat64AndTouchesNothingElse) {
  for (const DType type : kTypes) {
    for (const int64_t k : {1, 2, 7, 16, 33, 100, 511, 512, 513, 640, 641, 1030, 1281}) {
      const Operands operands(type, kDotRows, kDotOutputs, k);
      const double tolerance = 1e-6 * k;
      for (const auto& [rows, num_outputs] :
           {std::pair(1, 1), {1, 64}, {2, 3}, {3, 4}, {4, 9}, {6, 5}, {7, 64}, {13, 2}, {72, 61}}) {
        SCOPED_TRACE(testing::Message() << NameOf(type) << " k " << k << ", " << rows << " rows, "
                                        << num_outputs << " outputs");
        const int stride = num_outputs + 3;
        const std::vector<float> sums = operands.Multiply(0, rows, 0, num_outputs, stride);
        for (int r = 0; r < rows; ++r) {
          for (int o = 0; o < stride; ++o) {
            const float sum = sums[r * stride + o];
            if (o >= num_outputs) {
              ASSERT_EQ(sum, kUntouched) << "row " << r << " output " << o;
            } else {
              ASSERT_NEAR(sum, operands.Dot(r, o), tolerance) << "row " << r << " output " << o;
            }
          }
        }
      }
    }
  }
}

// The promise on which the backend's invariance rests.
TEST_P(DotBlockTest, ASumHasTheSameBitsWhateverElseIsInTheBlock) {
  for (const DType type : kTypes) {
    for (const int64_t k : {5, 88, 700}) {
      const Operands operands(type, kDotRows, kDotOutputs, k);
      const std::vector<float> all = operands.Multiply(0, kDotRows, 0, kDotOutputs, kDotOutputs);
      for (const int rows : {1, 2, 5, 8, 30}) {
        for (const int num_outputs : {1, 3, 8, 17}) {
          const int first = 11;
          const int first_output = 21;
          const std::vector<float> some =
              operands.Multiply(first, rows, first_output, num_outputs, num_outputs);
          for (int r = 0; r < rows; ++r) {
            ASSERT_EQ(
                std::memcmp(&some[r * num_outputs], &all[(first + r) * kDotOutputs + first_output],
                            num_outputs * sizeof(float)),
                0)
                << NameOf(type) << " k " << k << ", row " << r << " of " << rows;
          }
        }
      }
    }
  }
}

// For a single row and for more rows than a tile has.
TEST_P(DotBlockTest, ShowsF16NumbersThatAreNotFinite) {
  constexpr int kCount = 37;
  for (const uint16_t bad : {0x7c00, 0xfc00, 0x7e00}) {
    for (int at = 0; at < kCount; ++at) {
      Operands operands(DType::kF16, 20, 1, kCount);
      std::memcpy(&operands.outputs[0][at * sizeof(bad)], &bad, sizeof(bad));
      for (const int rows : {1, 20}) {
        for (const float sum : operands.Multiply(0, rows, 0, 1, 1)) {
          EXPECT_FALSE(std::isfinite(sum)) << at << ", " << rows;
        }
      }
    }
  }
}

SKIPSTONE_ON_INSTRUCTION_SETS(DotBlockTest);

}  // namespace
}  // namespace skipstone
