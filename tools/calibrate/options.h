// The command line of skipstone-calibrate.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/flag_set.h"
#include "engine/quality/level_search.h"
#include "engine/quality/map_fit.h"

namespace skipstone::calibrate {

struct CalibrateOptions {
  std::string model;
  std::string backend = "auto";
  int threads = 0;
  std::vector<std::string> text;
  std::vector<std::string> second_text;
  std::vector<std::string> held_out;
  std::string last_words;
  std::string choices;
  bool bos = true;
  int windows = 16;
  int fit_windows = 48;
  int window = 256;
  int held_out_windows = 32;
  int held_out_window = 512;
  int items = 200;
  int prompts = 16;
  int generated = 64;
  uint64_t seed = 1;
  std::string ranker = "greedy-kl";
  std::string compare = "last;gate-norm";
  std::string sets;
  std::string sublayers = "attention";
  bool suffix = false;
  int pool = 8;
  std::string levels = "10%;25%;33%;50%";
  std::string compensation = "bias;diag";
  std::string select_with;
  double save_ms = 0;
  double save_pages = 0;
  std::string widths;
  int context = 1024;
  int step_rows = 8192;
  std::string out = "levels.yaml";
  std::string journal;
  std::string report;

  void AddTo(FlagSet& flags);
};

// The values behind the texts of the options.
struct CalibratePlan {
  quality::SearchOptions search;
  std::vector<quality::Ranker> compared;
  std::vector<SkipSet> sets;  // to report beside the levels
  std::vector<int> sizes;     // sublayers, ascending
  std::vector<quality::MapForm> compensations;
  std::vector<int> widths;  // of windows, for levels by a budget
};

// INVALID_ARGUMENT names the flag: of what the model does not have, of values that do not go
// together.
absl::StatusOr<CalibratePlan> PlanOf(const CalibrateOptions& options, int num_layers, int hidden);

}  // namespace skipstone::calibrate
