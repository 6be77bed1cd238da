#include "engine/levels/levels_file.h"

#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"
#include "base/hash.h"
#include "engine/levels/maps_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"
#include "tests/support/test_levels.h"

namespace skipstone {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int kLayers = 4;
constexpr int kHidden = 8;

void AddLevels(TestLevels& levels) {
  levels.Add("one-bias", "attn:3", "suffix", "bias").quality = TestQuality(0.1);
  CalibratedLevel& diag = levels.Add("two.diag", "attn:last=2", "suffix", "diag");
  diag.quality = TestQuality(1.0 / 3);
  diag.quality->retention = Measured{1e-17, 0, 123456789.123456789};
  diag.quality->recall = Measured{-0.25, -0.5, 0.0625};
  diag.sheds_to_identity = true;
  diag.decode_ms_saved = 1.2;
  diag.pages_saved = 0.1 + 0.2;
  levels.Add("free", "attn:1,3+win:2/64+mlp:0", "free", "rank=3");
  levels.Add("plain", "attn:2", "other").decode_ms_saved = -0.5;
  levels.Add("whole", "mlp:1", "mlps", "full");
}

std::string TextOf(const Measured& m) {
  return testing::PrintToString(std::vector{m.value, m.low, m.high});
}

std::string BitsOf(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.data), tensor.data == nullptr ? 0 : tensor.bytes()};
}

class LevelsFileTest : public testing::Test {
 protected:
  LevelsFileTest() : path_(dir_.path() + "/levels.yaml") { AddLevels(levels_); }

  std::string MapsPath() const { return dir_.path() + "/levels.safetensors"; }
  void Write() {
    const absl::Status written = WriteLevelsFile(levels_.file, path_);
    ASSERT_TRUE(written.ok()) << written;
  }
  // What reading the file says once `from` in its text is `to`.
  std::string ErrorOf(const std::string& from, const std::string& to) {
    Write();
    const std::string text = ReadTestFile(path_);
    EXPECT_THAT(text, HasSubstr(from));
    dir_.Write("levels.yaml", absl::StrReplaceAll(text, {{from, to}}));
    return Error();
  }
  std::string Error() {
    const auto file = ReadLevelsFile(path_);
    EXPECT_TRUE(absl::IsInvalidArgument(file.status())) << file.status();
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(dir_.path() + "/levels."));
    return absl::StrReplaceAll(std::string(file.status().message()), {{dir_.path() + "/", ""}});
  }
  // What it says with these maps and one level, "x", "attn:3+mlp:0".
  std::string ErrorOfMaps(const std::vector<TestTensor>& tensors) {
    WriteX();
    dir_.Write("levels.safetensors", SafetensorsBytes(tensors));
    return Error();
  }
  void WriteX() {
    dir_.Write("levels.yaml",
               "format: 1\nmodel: {fingerprint: '0123456789abcdef', layers: 4, hidden: 8}\n"
               "method: {ranker: r, text: '0000000000000000', windows: 0, window: 0, seed: 0}\n"
               "maps: levels.safetensors\n"
               "levels: [{name: x, skip: attn:3+mlp:0, family: f, compensation: bias}]\n");
  }
  std::string WriteError() {
    const absl::Status status = WriteLevelsFile(levels_.file, path_);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_FALSE(std::filesystem::exists(path_));
    EXPECT_FALSE(std::filesystem::exists(MapsPath()));
    return std::string(status.message());
  }

  TempDir dir_;
  const std::string path_;
  TestLevels levels_{0x0123456789abcdef, kLayers, kHidden};
};

TEST_F(LevelsFileTest, ReadsWhatWasWrittenToTheBit) {
  Write();
  const auto read = ReadLevelsFile(path_);
  ASSERT_TRUE(read.ok()) << read.status();
  const LevelsFile& file = levels_.file;
  EXPECT_EQ(read->model_fingerprint, file.model_fingerprint);
  EXPECT_EQ(read->num_layers, kLayers);
  EXPECT_EQ(read->hidden, kHidden);
  EXPECT_EQ(read->ranker, "greedy-kl");
  EXPECT_EQ(read->text_hash, 0x89abcdef01234567);
  EXPECT_EQ(read->windows, 32);
  EXPECT_EQ(read->window, 256);
  EXPECT_EQ(read->seed, 1u);
  ASSERT_EQ(read->levels.size(), file.levels.size());
  for (size_t i = 0; i < file.levels.size(); ++i) {
    const CalibratedLevel& to = read->levels[i];
    const CalibratedLevel& from = file.levels[i];
    SCOPED_TRACE(from.name);
    EXPECT_EQ(to.name, from.name);
    EXPECT_EQ(to.skip, from.skip) << "with the fingerprints of its maps";
    EXPECT_EQ(to.skip.HasMaps(), !from.maps.empty());
    EXPECT_EQ(to.family, from.family);
    EXPECT_EQ(to.compensation, from.compensation);
    EXPECT_EQ(to.sheds_to_identity, from.sheds_to_identity);
    EXPECT_EQ(to.decode_ms_saved, from.decode_ms_saved);
    EXPECT_EQ(to.pages_saved, from.pages_saved);
    ASSERT_EQ(to.quality.has_value(), from.quality.has_value());
    ASSERT_EQ(to.maps.size(), from.maps.size());
    for (size_t m = 0; m < from.maps.size(); ++m) {
      EXPECT_EQ(to.maps[m].layer, from.maps[m].layer);
      EXPECT_EQ(to.maps[m].sublayer, from.maps[m].sublayer);
      for (const auto& [name, part] : kMapParts) {
        EXPECT_EQ(BitsOf(to.maps[m].tensors.*part), BitsOf(from.maps[m].tensors.*part)) << name;
      }
    }
    if (!from.quality) continue;
    std::vector<std::string> want, got;
    const auto texts = [](std::vector<std::string>& out) {
      return [&out](const char*, const auto& measure) {
        if constexpr (std::is_same_v<decltype(measure), const Measured&>) {
          out.push_back(TextOf(measure));
        } else {
          out.push_back(measure ? TextOf(*measure) : "absent");
        }
      };
    };
    ForEachMeasure(*from.quality, texts(want));
    ForEachMeasure(*to.quality, texts(got));
    EXPECT_EQ(got, want);
    EXPECT_EQ(to.quality->kl.value, from.quality->kl.value);
    if (from.quality->retention) {
      EXPECT_EQ(to.quality->retention->high, from.quality->retention->high);
    }
  }
}

TEST_F(LevelsFileTest, EqualContentsGiveEqualBytes) {
  Write();
  const std::string text = ReadTestFile(path_);
  const std::string maps = ReadTestFile(MapsPath());
  TestLevels again(0x0123456789abcdef, kLayers, kHidden);
  AddLevels(again);
  ASSERT_TRUE(WriteLevelsFile(again.file, dir_.path() + "/again.yaml").ok());
  EXPECT_EQ(absl::StrReplaceAll(ReadTestFile(dir_.path() + "/again.yaml"), {{"again", "levels"}}),
            text);
  EXPECT_EQ(ReadTestFile(dir_.path() + "/again.safetensors"), maps);
  const auto read = ReadLevelsFile(path_);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_TRUE(WriteLevelsFile(*read, dir_.path() + "/copy.yaml").ok());
  EXPECT_EQ(ReadTestFile(dir_.path() + "/copy.safetensors"), maps);
}

TEST_F(LevelsFileTest, TheTextIsTheDocumentedOne) {
  TestLevels levels(0x1234, 30, 576);
  CalibratedLevel& level = levels.Add("attn-25", "attn:22-29", "suffix");
  level.quality = LevelQuality{{0.9, 0.8, 1}, {70, 66, 75}, {0.5, 0.25, 0.75}};
  level.decode_ms_saved = 1.2;
  level.pages_saved = 0.27;
  ASSERT_TRUE(WriteLevelsFile(levels.file, path_).ok());
  EXPECT_EQ(ReadTestFile(path_),
            "format: 1\n"
            "model: {fingerprint: '0000000000001234', layers: 30, hidden: 576}\n"
            "method: {ranker: greedy-kl, text: '89abcdef01234567', windows: 32, window: 256, seed: "
            "1}\n"
            "levels:\n"
            "- name: attn-25\n"
            "  skip: attn:22-29\n"
            "  family: suffix\n"
            "  quality: {kl: [0.9, 0.8, 1], perplexity: [70, 66, 75], agreement: [0.5, 0.25, "
            "0.75]}\n"
            "  saved: {decode_ms: 1.2, pages: 0.27}\n");
  EXPECT_FALSE(std::filesystem::exists(MapsPath())) << "there are none";
}

TEST_F(LevelsFileTest, ReadsWhatPeopleWrite) {
  dir_.Write("levels.yaml",
             "# by hand\nlevels:\n  - {family: f, skip: 'attn:last=50%', name: half}\n"
             "method: {ranker: r, text: 00000000000000ff, windows: 0, window: 0, seed: 0}\n"
             "model: {fingerprint: 0123456789abcdef, layers: 128, hidden: 8}\nformat: 1\n");
  const auto file = ReadLevelsFile(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->levels[0].skip.ToString(), "attn:64-127") << "128 layers are the most";
  EXPECT_EQ(file->text_hash, 0xffu);
}

TEST_F(LevelsFileTest, WrongTextsNameFileAndLine) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"format: 1", "format: 2", "levels.yaml:1: format: '2' is not a whole number from 1 to 1"},
      {"format: 1\n", "", "levels.yaml:1: file: key 'format' is missing"},
      {"format: 1", "format: 1\nformat: 1", "levels.yaml:2: key 'format' appears twice"},
      {"format: 1", "formats: 1", "levels.yaml:1: unknown key 'formats'"},
      {"format: 1", "format: [", "levels.yaml:"},
      {"format: 1", "--- 1\n---", "levels.yaml:"},
      {"'0123456789abcdef'", "'0123456789abcde'",
       "levels.yaml:2: fingerprint: '0123456789abcde' is "
       "not 16 hexadecimal digits"},
      {"'0123456789abcdef'", "'0x23456789abcdef'", "levels.yaml:2: fingerprint"},
      {"layers: 4", "layers: 129",
       "levels.yaml:2: layers: '129' is not a whole number from 1 to 128"},
      {"layers: 4", "layers: 0", "levels.yaml:2: layers: '0'"},
      {"layers: 4", "layers: 3", "levels.yaml:7: "},
      {"layers: 4, ", "", "levels.yaml:2: model: key 'layers' is missing"},
      {"hidden: 8", "hidden: 8, heads: 2", "levels.yaml:2: unknown key 'model.heads'"},
      {"hidden: 8", "hidden: 1.5", "levels.yaml:2: hidden: '1.5'"},
      {"seed: 1", "seed: -1", "levels.yaml:3: seed: '-1'"},
      {"windows: 32, ", "", "levels.yaml:3: method: key 'windows' is missing"},
      {"maps: 'levels.safetensors'", "maps: '../levels.safetensors'",
       "levels.yaml:4: maps: '../levels.safetensors' is not a file name without a path"},
      {"maps: 'levels.safetensors'", "maps: /etc/passwd", "levels.yaml:4: maps"},
      {"maps: 'levels.safetensors'", "maps: ''", "levels.yaml:4: maps"},
      {"maps: 'levels.safetensors'", "maps: .", "levels.yaml:4: maps"},
      {"maps: 'levels.safetensors'", "maps: other.safetensors",
       "levels.yaml: its maps: other.safetensors: cannot be opened: No such file"},
      {"maps: 'levels.safetensors'\n", "",
       "levels.yaml: level 'one-bias': compensation is 'bias', but there is no map"},
      {"- name: one-bias", "- nam: one-bias", "levels.yaml:6: unknown key 'levels.nam'"},
      {"  family: free\n", "", "key 'family' is missing"},
      {"name: one-bias", "name: One",
       "tensor 'one-bias.layers.3.attention.bias': there is no level"},
      {"name: plain", "name: none", "levels.yaml: level 'none': it is no name of a level"},
      {"name: plain", "name: free", "levels.yaml: level 'free': the name is there twice"},
      {"family: other", "family: suffix",
       "levels.yaml: level 'plain', attn:2, and level 'one-bias', attn:3, are of the family "
       "'suffix', but neither contains the other"},
      {"family: other", "family: ''", "levels.yaml: level 'plain': family: '' is no word"},
      {"compensation: full", "compensation: ''",
       "levels.yaml: level 'whole': it has maps, but no compensation"},
      {"compensation: full", "compensation: a b", "compensation: 'a b' is no word"},
      {"family: other", "family: other\n  compensation: bias",
       "level 'plain': compensation is 'bias', but there is no map"},
      {"skip: attn:2\n", "skip: attn:9\n", "layer 9"},
      {"skip: attn:2\n", "skip: attn:0-3+mlp:0-3\n", "every sublayer"},
      {"skip: attn:2\n", "skip: attn:2@0123\n", "skip: after '@' 16 hexadecimal digits are wanted"},
      {"skip: attn:2\n", "skip: attn:2@0123456789abcdef\n",
       "levels.safetensors: the maps of level 'plain' are others than levels.yaml was written "
       "with: their hash is 0000000000000000, not 0123456789abcdef"},
      {"sheds_to_identity: true", "sheds_to_identity: perhaps", "sheds_to_identity: 'perhaps'"},
      {"kl: [0.1, 0, 0.225]", "kl: [0.1, 0]", "levels.yaml:10: kl: [value, low, high] is wanted"},
      {"kl: [0.1, 0, 0.225]", "kl: [0.1, 0, .nan]", "levels.yaml:10: kl: '.nan'"},
      {"kl: [0.1, 0, 0.225]", "kl: [nan, 0, 1]",
       "levels.yaml:10: kl: 'nan' is not a finite number"},
      {"kl: [0.1, 0, 0.225]", "kl: [inf, 0, 1]", "levels.yaml:10: kl: 'inf'"},
      {"kl: [0.1, 0, 0.225]", "kl: 0.1", "levels.yaml:10: kl: [value"},
      {"kl: [0.1, 0, 0.225], ", "", "levels.yaml:10: quality: key 'kl' is missing"},
      {"kl: [0.1, 0, 0.225]", "kls: [0, 0, 0]", "levels.yaml:10: unknown key 'quality.kls'"},
      {"pages: 0.30000000000000004", "pages: -inf", "pages: '-inf' is not a finite number"},
      {"decode_ms: 1.2", "decode_us: 1.2", "unknown key 'saved.decode_us'"},
  };
  for (const auto& [from, to, message] : cases) {
    EXPECT_THAT(ErrorOf(from, to), HasSubstr(message)) << from << " -> " << to;
  }
}

TEST_F(LevelsFileTest, WhatIsNoLevelsFileIsRefused) {
  for (const char* text : {"", "levels", "- a", "levels: []", "{}", "\xff\xfe", "a: &a [*a]",
                           "format: 1\nmodel: 3\nmethod: 4\nlevels: 5\n"}) {
    dir_.Write("levels.yaml", text);
    Error();
  }
  std::filesystem::remove(path_);
  EXPECT_TRUE(absl::IsNotFound(ReadLevelsFile(path_).status()));
  std::filesystem::create_directory(path_);
  Error();
}

TEST_F(LevelsFileTest, AMapsFileThatIsTornAtAnyByteIsRefused) {
  Write();
  const std::string maps = ReadTestFile(MapsPath());
  ASSERT_TRUE(ReadLevelsFile(path_).ok());
  for (size_t length = 0; length < maps.size(); length += 7) {
    dir_.Write("levels.safetensors", maps.substr(0, length));
    EXPECT_THAT(Error(), StartsWith("levels.yaml: its maps: levels.safetensors: ")) << length;
  }
  dir_.Write("levels.safetensors", maps + "x");
  EXPECT_THAT(Error(), HasSubstr("1 bytes after the last tensor"));
}

TEST_F(LevelsFileTest, MapsOfAnotherRunAreRefused) {
  Write();
  std::string maps = ReadTestFile(MapsPath());
  maps.back() ^= 1;  // the lowest bit of an exponent: still a number
  dir_.Write("levels.safetensors", maps);
  EXPECT_THAT(Error(), HasSubstr("are others than levels.yaml was written with"));
}

TEST_F(LevelsFileTest, WrongMapsNameFileAndTensor) {
  using Tensors = std::vector<TestTensor>;
  const auto tensor = [](const char* name, std::vector<int64_t> shape, const char* type = "F32") {
    return MakeTestTensor(name, type, shape);
  };
  const TestTensor bias = tensor("x.layers.3.attention.bias", {8});
  const std::pair<Tensors, const char*> cases[] = {
      {{tensor("x.layers.3.attention.bias", {7})}, "[1, 7] where [1, 8] is wanted"},
      {{tensor("x.layers.3.attention.bias", {8, 1})}, "[8, 1] where [1, 8] is wanted"},
      {{tensor("x.layers.3.attention.bias", {1, 8, 1})}, "3 dimensions where 1 or 2 are wanted"},
      {{tensor("x.layers.3.attention.bias", {})}, "0 dimensions"},
      {{tensor("x.layers.3.attention.bias", {8}, "I16")}, "dtype 'I16' is not served"},
      {{tensor("x.layers.3.attention.scale", {4, 2})}, "[4, 2] where [1, 8] is wanted"},
      {{bias, tensor("x.layers.3.attention.down", {2, 8})}, "there is no 'up' beside it"},
      {{tensor("x.layers.0.mlp.down", {9, 8}), tensor("x.layers.0.mlp.up", {8, 9})},
       "tensor 'x.layers.0.mlp.down': its rank, 9, is above the hidden size, 8"},
      {{tensor("x.layers.0.mlp.down", {2, 7}), tensor("x.layers.0.mlp.up", {8, 2})},
       "[2, 7] where [rank, 8] is wanted"},
      {{tensor("x.layers.0.mlp.down", {0, 8}), tensor("x.layers.0.mlp.up", {8, 0})},
       "[0, 8] where [rank, 8] is wanted"},
      {{tensor("x.layers.0.mlp.down", {2, 8}), tensor("x.layers.0.mlp.up", {8, 3})},
       "tensor 'x.layers.0.mlp.up': [8, 3] where [8, 2] is wanted"},
      {{tensor("x.layers.0.mlp.up", {8, 3})}, "[8, 3] where [8, 8] is wanted"},
      {{bias, tensor("x.layers.2.attention.bias", {8})},
       "tensor 'x.layers.2.attention.bias': level 'x', attn:3+mlp:0, keeps this sublayer"},
      {{bias, tensor("x.layers.3.mlp.bias", {8})}, "keeps this sublayer"},
      {{bias, tensor("x.layers.4.mlp.bias", {8})}, "layer 4 is outside the model's 4 layers"},
      {{bias, tensor("y.layers.3.attention.bias", {8})}, "there is no level 'y'"},
      {{tensor("x.layers.3.attention.gain", {8})}, "a name like LEVEL.layers.L.attention.bias"},
      {{tensor("x.layers.03.attention.bias", {8})}, "a name like"},
      {{tensor("x.layers.3.attn.bias", {8})}, "a name like"},
      {{tensor("x.layer.3.attention.bias", {8})}, "a name like"},
      {{tensor("bias", {8})}, "a name like"},
      {{tensor("", {8})}, "a name like"},
  };
  for (const auto& [tensors, message] : cases) {
    EXPECT_THAT(ErrorOfMaps(tensors),
                AllOf(StartsWith("levels.safetensors: "), HasSubstr(message)));
  }
  EXPECT_THAT(ErrorOfMaps({}), HasSubstr("compensation is 'bias', but there is no map"));
  WriteX();
  dir_.Write("levels.safetensors",
             SafetensorsBytes(R"({"x.layers.0.mlp.bias":{"dtype":"F32","shape":[8],"data_offsets":)"
                              R"([0,32]},"x.layers.0.mlp.bias":{"dtype":"F32","shape":[8],)"
                              R"("data_offsets":[0,32]}})",
                              std::string(32, '\0')));
  EXPECT_THAT(Error(), HasSubstr("tensor 'x.layers.0.mlp.bias': stands twice in the header"));
}

TEST_F(LevelsFileTest, NumbersThatAreNoneAreFoundInEveryType) {
  const std::pair<const char*, std::string> bad[] = {
      {"F32", {"\0\0\x80\x7f", 4}}, {"F32", {"\1\0\x80\xff", 4}}, {"F16", {"\0\x7c", 2}},
      {"F16", {"\1\xfc", 2}},       {"BF16", {"\x80\x7f", 2}},    {"BF16", {"\xc0\xff", 2}}};
  for (const auto& [type, bits] : bad) {
    for (const size_t place : {0, 7}) {
      TestTensor tensor = MakeTestTensor("x.layers.3.attention.scale", type, {8});
      std::fill(tensor.data.begin(), tensor.data.end(), '\0');
      WriteX();
      dir_.Write("levels.safetensors", SafetensorsBytes({tensor}));
      EXPECT_TRUE(ReadLevelsFile(path_).ok()) << type;
      tensor.data.replace(place * bits.size(), bits.size(), bits);
      EXPECT_THAT(ErrorOfMaps({tensor}), HasSubstr("tensor 'x.layers.3.attention.scale': a number "
                                                   "is NaN or infinite"));
    }
  }
}

TEST_F(LevelsFileTest, WhatCannotBeReadIsNotWritten) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<CalibratedLevel> good = levels_.file.levels;
  const auto error = [&](auto spoil) {
    levels_.file.levels = good;
    spoil(levels_.file.levels[0]);
    return WriteError();
  };
  EXPECT_THAT(error([](auto& level) { level.name = "two.diag"; }), HasSubstr("is there twice"));
  EXPECT_THAT(error([](auto& level) { level.name = "x\ny"; }), HasSubstr("no name of a level"));
  EXPECT_THAT(error([](auto& level) { level.skip = SkipSet(5); }),
              HasSubstr("its skip set is of 5 layers, the model has 4"));
  EXPECT_THAT(error([&](auto& level) { level.quality->kl.low = nan; }),
              HasSubstr("quality: kl is not finite"));
  EXPECT_THAT(error([&](auto& level) { level.quality->choice->high = nan; }),
              HasSubstr("quality: choice is not finite"));
  EXPECT_THAT(error([&](auto& level) { level.pages_saved = nan; }), HasSubstr("saved"));
  EXPECT_THAT(error([](auto& level) { level.maps.push_back(level.maps[0]); }),
              HasSubstr("the map 'one-bias.layers.3.attention' is there twice"));
  EXPECT_THAT(error([](auto& level) { level.maps[0].layer = 2; }),
              HasSubstr("is of a sublayer that the level keeps"));
  EXPECT_THAT(error([](auto& level) { level.maps[0].layer = 4; }), HasSubstr("no layer"));
  EXPECT_THAT(error([](auto& level) { level.maps[0].tensors = {}; }), HasSubstr("has no tensor"));
  EXPECT_THAT(error([&](auto& level) { level.maps[0].tensors = good[1].maps[0].tensors; }),
              HasSubstr("the fingerprints in its skip set are not those of its maps"));
  EXPECT_THAT(error([](auto& level) { level.family = "a: b"; }), HasSubstr("is no word"));
  levels_.file.levels = good;
  levels_.file.ranker = "two words";
  EXPECT_THAT(WriteError(), HasSubstr("ranker"));
  levels_.file.ranker = "r";
  levels_.file.num_layers = 129;
  EXPECT_THAT(WriteError(), HasSubstr("129 layers"));
  levels_.file.num_layers = kLayers;
  levels_.file.levels.clear();
  EXPECT_THAT(WriteError(), HasSubstr("there is no level"));
}

TEST_F(LevelsFileTest, NamesThatTheMapsCannotLieBesideAreRefused) {
  for (const char* name : {"levels.safetensors", "", ".yaml", "a\nb.yaml"}) {
    const absl::Status status = WriteLevelsFile(levels_.file, dir_.path() + "/" + name);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  }
  ASSERT_TRUE(WriteLevelsFile(levels_.file, dir_.path() + "/it's #1: a.yaml").ok());
  EXPECT_TRUE(ReadLevelsFile(dir_.path() + "/it's #1: a.yaml").ok());
  EXPECT_TRUE(absl::IsUnavailable(WriteLevelsFile(levels_.file, dir_.path() + "/absent/x.yaml")));
}

TEST_F(LevelsFileTest, WritingAgainReplacesTheFilesAndLeavesNoOthers) {
  Write();
  const auto before = ReadLevelsFile(path_);
  const std::string bits = BitsOf(before->levels[0].maps[0].tensors.bias);
  TestLevels other(1, kLayers, kHidden);
  other.Add("a", "attn:3", "f", "bias", 0.5f);
  ASSERT_TRUE(WriteLevelsFile(other.file, path_).ok());
  EXPECT_EQ(ReadLevelsFile(path_)->levels[0].skip, other.file.levels[0].skip);
  EXPECT_EQ(BitsOf(before->levels[0].maps[0].tensors.bias), bits) << "a mapping of the old file";
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
    files += entry.is_regular_file();
  }
  EXPECT_EQ(files, 2);
}

TEST(IsLevelNameTest, TakesWhatTheGrammarSays) {
  for (const char* name : {"a", "attn-25", "a.b_c-9"}) EXPECT_TRUE(IsLevelName(name)) << name;
  for (const char* name : {"", "none", "custom", "A", "9a", "-a", "a b", "a\"b", "caf\u00e9"}) {
    EXPECT_FALSE(IsLevelName(name)) << name;
  }
}

}  // namespace
}  // namespace skipstone
