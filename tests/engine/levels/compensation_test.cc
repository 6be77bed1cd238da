#include "engine/levels/compensation.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/recording_backend.h"
#include "tests/support/test_levels.h"

namespace skipstone {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class LoadMapsTest : public testing::Test {
 protected:
  LoadMapsTest() { weights_.layers.resize(4); }
  absl::Status Load(uint64_t fingerprint = 7) {
    return LoadMaps(levels_.file, fingerprint, backend_, &weights_, &maps_);
  }
  const Tensor& TensorOf(WeightId id) const { return backend_.groups.at(id.index).at(0); }

  TestLevels levels_{7, 4, 8};
  RecordingBackend backend_;
  Weights weights_;
  std::vector<LayerMaps> maps_;
};

TEST_F(LoadMapsTest, EachMapIsAddedAtThePlaceOfItsFingerprint) {
  const CalibratedLevel& small = levels_.Add("small", "attn:3+mlp:0", "f", "rank=2");
  const SkipSet first = small.skip;
  levels_.Add("large", "attn:2-3+mlp:0", "f", "diag");
  const SkipSet second = levels_.file.levels[1].skip;
  const absl::Status loaded = Load();
  ASSERT_TRUE(loaded.ok()) << loaded;
  ASSERT_EQ(maps_.size(), 4u);
  EXPECT_THAT(maps_[3].attention, ElementsAre(first.AttentionMap(3), second.AttentionMap(3)));
  EXPECT_THAT(maps_[2].attention, ElementsAre(second.AttentionMap(2)));
  EXPECT_THAT(maps_[0].mlp, ElementsAre(first.MlpMap(0), second.MlpMap(0)));
  EXPECT_TRUE(maps_[1].attention.empty() && maps_[1].mlp.empty() && maps_[0].attention.empty());
  const MapWeights& low_rank = weights_.layers[3].attention_maps.at(0);
  const LevelMap& map = levels_.file.levels[0].maps[1];
  EXPECT_EQ(TensorOf(low_rank.bias).data, map.tensors.bias.data);
  EXPECT_EQ(TensorOf(low_rank.down).data, map.tensors.down.data);
  EXPECT_EQ(TensorOf(low_rank.up).data, map.tensors.up.data);
  EXPECT_EQ(low_rank.scale.index, -1) << "it has none";
  EXPECT_GE(weights_.layers[3].attention_maps.at(1).scale.index, 0);
  EXPECT_EQ(weights_.layers[0].mlp_maps.size(), 2u);
}

TEST_F(LoadMapsTest, EqualMapsOfSeveralLevelsAreAddedOnce) {
  levels_.Add("small", "attn:3", "f", "bias");
  levels_.Add("large", "attn:2-3", "f", "bias");
  levels_.ShareMaps(levels_.file.levels[0]);
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(backend_.groups.size(), 2u);
  EXPECT_EQ(maps_[3].attention.size(), 1u);
  EXPECT_EQ(weights_.layers[3].attention_maps.size(), 1u);
}

TEST_F(LoadMapsTest, WithoutMapsThereIsNothingToDo) {
  levels_.Add("plain", "attn:3", "f");
  ASSERT_TRUE(Load().ok());
  EXPECT_TRUE(maps_.empty());
  EXPECT_TRUE(backend_.groups.empty());
}

TEST_F(LoadMapsTest, AnotherModelsLevelsAreRefusedWithBothFingerprints) {
  levels_.Add("a", "attn:3", "f", "bias");
  const absl::Status refused = Load(0x1234567890abcdef);
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("of another model: that one's fingerprint is 0000000000000007, this one's "
                        "is 1234567890abcdef"));
  EXPECT_TRUE(backend_.groups.empty());
  levels_.Add("plain", "attn:3", "f");
  levels_.file.levels.erase(levels_.file.levels.begin());
  EXPECT_TRUE(absl::IsInvalidArgument(Load(8))) << "without maps, too";
}

TEST_F(LoadMapsTest, ABackendsRefusalNamesTheMap) {
  levels_.Add("a", "attn:3+mlp:1", "f", "diag");
  backend_.groups_until_failure = 2;
  const absl::Status refused = Load();
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("map 'a.layers.3.attention': no memory for weights"));
}

}  // namespace
}  // namespace skipstone
