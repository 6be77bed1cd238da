#include "engine/levels/levels_yaml.h"

#include <limits>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/test_levels.h"

namespace skipstone {
namespace {

TEST(LevelsYamlTest, NumbersAreReadAsTheyWereWritten) {
  TestLevels levels(~uint64_t{0}, 4, 8);
  levels.file.seed = ~uint64_t{0};
  for (const double number : {0.1, 1.0 / 3, -0.0, 5e-324, 1.7976931348623157e308, 123456789012345.6,
                              0.30000000000000004, 1e22}) {
    CalibratedLevel& level = levels.Add("a", "attn:3", "f");
    level.decode_ms_saved = number;
    level.quality = TestQuality(number);
    const auto yaml = ParseLevelsYaml(ToYaml(levels.file, ""), "x");
    ASSERT_TRUE(yaml.ok()) << yaml.status();
    EXPECT_EQ(yaml->file.levels.back().decode_ms_saved, number);
    EXPECT_EQ(yaml->file.levels.back().quality->kl.high, level.quality->kl.high);
    EXPECT_EQ(yaml->file.seed, ~uint64_t{0});
    EXPECT_EQ(yaml->file.model_fingerprint, ~uint64_t{0});
  }
}

TEST(LevelsYamlTest, TheHashOfMapsStandsBehindTheSkipSet) {
  TestLevels levels(1, 4, 8);
  levels.Add("a", "attn:3", "f", "bias");
  levels.Add("b", "attn:3", "f");
  const auto yaml = ParseLevelsYaml(ToYaml(levels.file, "m"), "x");
  ASSERT_TRUE(yaml.ok()) << yaml.status();
  EXPECT_EQ(yaml->maps, "m");
  EXPECT_EQ(yaml->map_hashes[0], levels.file.levels[0].skip.maps_hash());
  EXPECT_NE(yaml->map_hashes[0], 0u);
  EXPECT_EQ(yaml->map_hashes[1], 0u);
  EXPECT_FALSE(yaml->file.levels[0].skip.HasMaps()) << "they are not here";
}

}  // namespace
}  // namespace skipstone
