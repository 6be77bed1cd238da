// Random weights made on the device are the bits that the host makes.
#include "engine/cuda/kernels/random_fill.h"

#include "tests/engine/cuda/kernel_rig.h"

namespace skipstone::cuda {
namespace {

class RandomFillKernelTest : public KernelTest {};

TEST_P(RandomFillKernelTest, MakesTheBitsOfTheHost) {
  for (const int64_t elements : {8, 2056, 4096}) {
    const RandomMatrix matrix{.type = type(), .seed = 0xfedcba9876543210, .inputs = 3 * elements};
    constexpr int64_t kBehind = 8;
    std::vector<uint16_t> expected = Poison16(elements + kBehind);
    const DeviceArray<uint16_t> to(expected);
    FillUniform(matrix, 0, elements, expected.data());
    ASSERT_EQ(LaunchRandomFill(matrix, elements, to.get(), stream_.get()), cudaSuccess);
    EXPECT_EQ(to.Read(), expected) << elements;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, RandomFillKernelTest, testing::Values(DType::kF16, DType::kBF16),
                         [](const auto& info) { return NameOf(info.param); });

}  // namespace
}  // namespace skipstone::cuda
