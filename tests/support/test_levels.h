// Levels files for tests, with random maps.
//
//   TestLevels levels(/*fingerprint=*/0x5eed, /*layers=*/4, /*hidden=*/8);
//   levels.Add("deep-bias", "attn:last=2", "suffix", "bias");
//   WriteLevelsFile(levels.file, path);
#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "engine/levels/levels_file.h"

namespace skipstone {

class TestLevels {
 public:
  TestLevels(uint64_t fingerprint, int num_layers, int hidden);
  TestLevels(const TestLevels&) = delete;
  TestLevels& operator=(const TestLevels&) = delete;

  // With a map of this kind for each skipped sublayer: "bias", "diag", "rank=R", "full"; empty:
  // none. Its numbers are some hundredths, or `most` at the most, and the next level's are others.
  CalibratedLevel& Add(const std::string& name, const std::string& skip, const std::string& family,
                       const std::string& compensation = "", float most = 0.05f);
  // Gives the last level another's map, by its layer and sublayer, if it has one of that.
  void ShareMaps(const CalibratedLevel& from);

  LevelsFile file;

 private:
  Tensor Random(int64_t rows, int64_t cols, float most);

  std::mt19937 random_{7};
  std::deque<std::vector<float>> data_;
};

// Of a level that was measured.
LevelQuality TestQuality(double kl);

}  // namespace skipstone
