// What reading and writing refuse alike; levels_file_test has more of it.
#include "engine/levels/check_levels.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/support/test_levels.h"

namespace skipstone {
namespace {

std::string ErrorOf(const LevelsFile& file) {
  const absl::Status status = CheckLevels(file, "l.yaml", "m.safetensors");
  return std::string(status.message());
}

TEST(CheckLevelsTest, LevelsOfAFamilyAreNestedInAnyOrder) {
  TestLevels levels(1, 8, 4);
  levels.Add("large", "attn:4-7+mlp:7", "suffix");
  levels.Add("small", "attn:7", "suffix");
  levels.Add("small-diag", "attn:7", "suffix", "diag");
  levels.Add("middle", "attn:6-7+mlp:7", "suffix");
  levels.Add("beside", "attn:0", "free");
  EXPECT_EQ(ErrorOf(levels.file), "");
  levels.Add("across", "attn:5-7+mlp:6", "suffix");
  EXPECT_EQ(ErrorOf(levels.file),
            "l.yaml: level 'across', attn:5-7+mlp:6, and level 'large', attn:4-7+mlp:7, are of the "
            "family 'suffix', but neither contains the other");
}

TEST(CheckLevelsTest, AWindowIsPartOfTheNesting) {
  TestLevels levels(1, 8, 4);
  levels.Add("near", "win:7/64", "f");
  levels.Add("skipped", "attn:7", "f");
  EXPECT_EQ(ErrorOf(levels.file), "");
  levels.Add("nearer", "win:7/32", "f");
  EXPECT_EQ(ErrorOf(levels.file),
            "l.yaml: level 'nearer', win:7/32, and level 'near', win:7/64, are of the family 'f', "
            "but neither contains the other");
}

TEST(CheckLevelsTest, AMapNamesTheFileOfMaps) {
  TestLevels levels(1, 8, 4);
  levels.Add("a", "attn:7", "f", "bias").maps[0].tensors.bias.cols = 3;
  EXPECT_EQ(ErrorOf(levels.file),
            "m.safetensors: tensor 'a.layers.7.attention.bias': [1, 3] where [1, 4] is wanted");
}

}  // namespace
}  // namespace skipstone
