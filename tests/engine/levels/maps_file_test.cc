#include "engine/levels/maps_file.h"

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_levels.h"

namespace skipstone {
namespace {

std::string Join(const MapsBytes& bytes) {
  std::string all = bytes.header;
  for (const std::string_view piece : bytes.data) all += piece;
  return all;
}

TEST(MapsFileTest, TensorsOfAllTypesAreAlignedToThem) {
  TestLevels levels(1, 4, 3);  // odd: 16-bit tensors of 6 bytes
  levels.Add("b", "attn:2-3", "f", "rank=1");
  levels.Add("a", "attn:3", "f", "diag");
  for (LevelMap& map : levels.file.levels[0].maps) {
    map.tensors.bias.type = DType::kBF16;
    map.tensors.up.type = DType::kF16;
  }
  TempDir dir;
  const std::string path = dir.Write("m.safetensors", Join(BytesOf(levels.file)));
  std::string warnings;
  SetLogSink([&](LogSeverity, const std::string& message) { warnings += message; });
  const auto file = Safetensors::OpenFile(path);
  SetLogSink(nullptr);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors().size(), 8u);
  const StoredTensor* const up = file->Find("b.layers.3.attention.up");
  ASSERT_NE(up, nullptr);
  EXPECT_EQ(up->type, DType::kF16);
  EXPECT_EQ(up->shape, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(file->Find("a.layers.3.attention.bias")->shape, std::vector<int64_t>{3});
  EXPECT_EQ(warnings, "") << "nothing had to be copied";
  for (const auto& [name, tensor] : file->tensors()) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data) % SizeOf(tensor.type), 0u) << name;
  }
}

TEST(MapsFileTest, MapsGoToTheirLevelsInOrderOfLayers) {
  TestLevels levels(1, 12, 4);
  levels.Add("a.layers.1", "attn:2,10+mlp:2", "f", "bias");  // a name that looks like more
  TempDir dir;
  const std::string path = dir.Write("m.safetensors", Join(BytesOf(levels.file)));
  LevelsFile read = levels.file;
  read.levels[0].maps.clear();
  read.levels[0].skip = read.levels[0].skip.WithoutMaps();
  const absl::Status attached =
      AttachMaps(std::make_shared<const Safetensors>(*Safetensors::OpenFile(path)), path, &read);
  ASSERT_TRUE(attached.ok()) << attached;
  ASSERT_EQ(read.levels[0].maps.size(), 3u);
  std::vector<std::string> names;
  for (const LevelMap& map : read.levels[0].maps) names.push_back(NameOf(read.levels[0], map));
  EXPECT_THAT(names,
              testing::ElementsAre("a.layers.1.layers.2.attention", "a.layers.1.layers.2.mlp",
                                   "a.layers.1.layers.10.attention"));
  EXPECT_EQ(read.levels[0].skip, levels.file.levels[0].skip);
  EXPECT_NE(read.storage, nullptr) << "the maps point into it";
}

}  // namespace
}  // namespace skipstone
