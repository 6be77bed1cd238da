// Ceilings of choices with maps; levels_test has those without.
#include "server/ceiling.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/test_levels.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class CeilingTest : public testing::Test {
 protected:
  Level Add(const std::string& name, const std::string& skip, const std::string& family,
            const std::string& compensation = "") {
    const CalibratedLevel& level = levels_.Add(name, skip, family, compensation);
    return {.name = name, .skip = level.skip, .compensation = compensation, .family = family};
  }
  static std::string ErrorOf(const Level& chosen, const Level& ceiling) {
    const absl::Status status = CheckCeiling(chosen, ceiling);
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status));
    return std::string(status.message());
  }

  TestLevels levels_{7, 8, 4};
};

TEST_F(CeilingTest, ALargerLevelOfTheFamilyMayFollow) {
  const Level small = Add("small", "attn:7", "suffix", "bias");
  const Level large = Add("large", "attn:5-7+mlp:7", "suffix", "diag");
  EXPECT_EQ(ErrorOf(small, large), "") << "the layers between are shed one by one";
  EXPECT_THAT(ErrorOf(large, small), HasSubstr("does not contain the choice"));
  EXPECT_EQ(ErrorOf(small, Add("plain", "attn:6-7", "suffix")), "")
      << "of the family, without maps";
}

TEST_F(CeilingTest, AnotherFamilyMayNot) {
  const Level small = Add("small", "attn:7", "suffix", "bias");
  EXPECT_EQ(
      ErrorOf(small, Add("other", "attn:6-7", "free", "bias")),
      "skip.adaptive: the ceiling is of the family 'free', the choice, small, of 'suffix': its "
      "maps were fitted for levels of its own");
}

TEST_F(CeilingTest, ASetWithoutMapsMayWhereTheLevelSaysSo) {
  Level small = Add("small", "attn:7", "suffix", "bias");
  const Level custom{.name = kCustomLevel, .skip = Add("x", "attn:6-7", "f").skip};
  EXPECT_EQ(ErrorOf(small, custom),
            "skip.adaptive: the ceiling has no maps and is not of the family 'suffix': the level "
            "small is not to be shed to a set without maps");
  small.sheds_to_identity = true;
  EXPECT_EQ(ErrorOf(small, custom), "");
}

TEST_F(CeilingTest, AChoiceWithoutMapsMayGetThem) {
  const Level full{.name = "full", .skip = SkipSet(8)};
  const Level large = Add("large", "attn:5-7", "suffix", "bias");
  EXPECT_EQ(ErrorOf(full, large), "");
  EXPECT_EQ(ErrorOf({.name = kCustomLevel, .skip = Add("x", "attn:7", "f").skip}, large), "");
}

TEST_F(CeilingTest, MapsBelowTheAttentionThatStaysMustBeEqual) {
  const Level small = Add("small", "attn:2,7", "free", "bias");
  const Level large = Add("large", "attn:2,6-7", "free", "bias");
  EXPECT_EQ(ErrorOf(small, large),
            "skip.adaptive: the ceiling has another map in place of the attention of layer 2 than "
            "the choice: K and V of the layers that are kept above depend on it");
  levels_.ShareMaps(levels_.file.levels[0]);
  Level shared = large;
  shared.skip = levels_.file.levels[1].skip;
  EXPECT_EQ(ErrorOf(small, shared), "");
  const Level plain{.name = kCustomLevel, .skip = small.skip.WithoutMaps()};
  EXPECT_THAT(ErrorOf(plain, shared), HasSubstr("the attention of layer 2")) << "no map there";
  const Level mlp = Add("mlp", "mlp:3", "m", "bias");
  EXPECT_THAT(
      ErrorOf(mlp, Add("more", "attn:7+mlp:3", "m", "bias")),
      StartsWith("skip.adaptive: the ceiling has another map in place of the MLP of layer 3"));
}

}  // namespace
}  // namespace skipstone::server
