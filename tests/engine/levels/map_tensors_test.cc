#include "engine/levels/map_tensors.h"

#include <set>
#include <vector>

#include "base/hash.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

Tensor TensorOf(const std::vector<float>& numbers, int64_t rows = 1) {
  return {numbers.data(), DType::kF32, rows, static_cast<int64_t>(numbers.size()) / rows};
}

TEST(MapTensorsTest, TheFingerprintIsOfPartsShapesTypesAndBytes) {
  const std::vector<float> numbers = {1, 2, 3, 4};
  const std::vector<float> others = {1, 2, 3, 5};
  std::set<uint64_t> seen = {0};
  const auto is_new = [&](const MapTensors& map) { return seen.insert(FingerprintOf(map)).second; };
  EXPECT_TRUE(is_new({}));
  EXPECT_TRUE(is_new({.bias = TensorOf(numbers)}));
  EXPECT_TRUE(is_new({.bias = TensorOf(others)}));
  EXPECT_TRUE(is_new({.scale = TensorOf(numbers)}));
  EXPECT_TRUE(is_new({.up = TensorOf(numbers, 2)}));
  EXPECT_TRUE(is_new({.up = TensorOf(numbers, 4)}));
  EXPECT_TRUE(is_new({.bias = TensorOf(numbers), .scale = TensorOf(numbers)}));
  Tensor half = TensorOf(numbers);
  half.type = DType::kBF16;
  EXPECT_TRUE(is_new({.bias = half}));
  half.type = DType::kF16;
  EXPECT_TRUE(is_new({.bias = half}));
  const std::vector<float> copy = numbers;
  EXPECT_FALSE(is_new({.bias = TensorOf(copy)})) << "not of where it lies";
}

// Written down, since files name maps by it.
TEST(MapTensorsTest, TheFingerprintIsThePublishedHash) {
  const std::vector<float> numbers = {0, 0};
  const std::string bytes = std::string("bias") + "f32" + std::string("\1\0\0\0\0\0\0\0", 8) +
                            std::string("\2\0\0\0\0\0\0\0", 8) + std::string(8, '\0');
  EXPECT_EQ(FingerprintOf({.bias = TensorOf(numbers)}), Fnv1a64(bytes));
}

TEST(MapTensorsTest, EveryKindOfMapIsTaken) {
  const std::vector<float> eight(8), four(4), sixteen(16);
  EXPECT_TRUE(CheckMap({.bias = TensorOf(four)}, 4, "m").ok());
  EXPECT_TRUE(CheckMap({.bias = TensorOf(four), .scale = TensorOf(four)}, 4, "m").ok());
  EXPECT_TRUE(CheckMap({.down = TensorOf(eight, 2), .up = TensorOf(eight, 4)}, 4, "m").ok());
  EXPECT_TRUE(CheckMap({.down = TensorOf(sixteen, 4), .up = TensorOf(sixteen, 4)}, 4, "m").ok());
  EXPECT_TRUE(CheckMap({.up = TensorOf(sixteen, 4)}, 4, "m").ok());
  EXPECT_EQ(CheckMap({.bias = TensorOf(eight)}, 4, "m").message(),
            "tensor 'm.bias': [1, 8] where [1, 4] is wanted");
  EXPECT_EQ(CheckMap({}, 4, "m").message(), "the map 'm' has no tensor");
}

}  // namespace
}  // namespace skipstone
