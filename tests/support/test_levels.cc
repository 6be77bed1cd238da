#include "tests/support/test_levels.h"

#include <utility>

#include "base/check.h"
#include "engine/levels/maps_file.h"
#include "engine/skip/skip_grammar.h"

namespace skipstone {

TestLevels::TestLevels(uint64_t fingerprint, int num_layers, int hidden) {
  file.model_fingerprint = fingerprint;
  file.num_layers = num_layers;
  file.hidden = hidden;
  file.ranker = "greedy-kl";
  file.text_hash = 0x89abcdef01234567;
  file.windows = 32;
  file.window = 256;
  file.seed = 1;
}

Tensor TestLevels::Random(int64_t rows, int64_t cols, float most) {
  std::vector<float>& numbers = data_.emplace_back(rows * cols);
  for (float& number : numbers) {
    number = most * (static_cast<float>(random_() >> 8) * 0x1.0p-23f - 1);
  }
  return {numbers.data(), DType::kF32, rows, cols};
}

CalibratedLevel& TestLevels::Add(const std::string& name, const std::string& skip,
                                 const std::string& family, const std::string& compensation,
                                 float most) {
  CalibratedLevel level{.name = name, .family = family, .compensation = compensation};
  level.skip = ParseSkipSet(skip, file.num_layers).value();
  const int hidden = file.hidden;
  for (int i = 0; i < 2 * file.num_layers && !compensation.empty(); ++i) {
    LevelMap map{.layer = i / 2, .sublayer = i % 2 == 0 ? Sublayer::kAttention : Sublayer::kMlp};
    if (i % 2 == 0 ? level.skip.KeepsAttention(i / 2) : level.skip.KeepsMlp(i / 2)) continue;
    map.tensors.bias = Random(1, hidden, most);
    if (compensation == "diag") map.tensors.scale = Random(1, hidden, most);
    if (compensation == "full") map.tensors.up = Random(hidden, hidden, most);
    if (compensation.starts_with("rank=")) {
      const int rank = std::stoi(compensation.substr(5));
      map.tensors.down = Random(rank, hidden, most);
      map.tensors.up = Random(hidden, rank, most);
    }
    SetMap(map, level.skip);
    level.maps.push_back(map);
  }
  return file.levels.emplace_back(std::move(level));
}

void TestLevels::ShareMaps(const CalibratedLevel& from) {
  CalibratedLevel& level = file.levels.back();
  for (LevelMap& map : level.maps) {
    for (const LevelMap& other : from.maps) {
      if (map.layer != other.layer || map.sublayer != other.sublayer) continue;
      map.tensors = other.tensors;
      SetMap(map, level.skip);
    }
  }
}

LevelQuality TestQuality(double kl) {
  LevelQuality quality;
  quality.kl = {kl, kl - 0.1, kl + 0.125};
  quality.perplexity = {70.25, 66, 75};
  quality.agreement = {0.5, 0.4, 0.6};
  quality.choice = Measured{-0.03, -0.07, 0.01};
  return quality;
}

}  // namespace skipstone
