// The named skip levels of a server and the policy on skip sets: decides which sublayers a request
// skips or windows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/levels/levels_file.h"
#include "engine/skip/skip_set.h"
#include "server/server_config.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

// Level of requests that name their sublayers themselves.
inline constexpr char kCustomLevel[] = "custom";

// What is known beside name and set stands in the levels file; else it is empty.
struct Level {
  std::string name;
  SkipSet skip;              // with its maps
  std::string compensation;  // the name of its maps
  std::string family;        // levels of one family are nested
  bool sheds_to_identity = false;
  std::optional<LevelQuality> quality;
  std::optional<double> decode_ms_saved;
  std::optional<double> pages_saved;

  // It is the full model itself.
  bool skips_nothing() const { return skip == SkipSet(skip.num_layers()); }
};

// "75%" or a count, of `num_layers` attention sublayers; empty: all. INVALID_ARGUMENT names
// `field`.
absl::StatusOr<int> ParseMaximum(const std::string& field, const std::string& text, int num_layers);

// Immutable, so thread-safe.
class Levels {
 public:
  // Those of the configuration, then those of `file`, if there is one. INVALID_ARGUMENT names the
  // level: malformed name or spec, maps that the file does not have, a name in both, more skipped
  // or windowed than the policy allows, a window wider than `max_context` tokens, a file of another
  // number of layers, or a default level or a port's level that does not exist.
  static absl::StatusOr<Levels> Make(const ServerConfig& config, int num_layers, int max_context,
                                     const LevelsFile* file = nullptr);

  const std::vector<Level>& all() const { return levels_; }
  const Level& default_level() const { return levels_[default_]; }
  int num_layers() const { return num_layers_; }
  bool allow_custom() const { return allow_custom_; }
  int max_skipped_attention() const { return max_skipped_attention_; }
  int max_windowed_attention() const { return max_windowed_attention_; }
  int min_window() const { return min_window_; }  // tokens
  bool has_file() const { return has_file_; }
  // Levels that skip something and of which no quality was measured.
  std::vector<std::string> unmeasured() const;
  // Why it is not known what skipping costs in quality; empty: it was measured of every level.
  std::string WhyUnmeasured() const;

  // NOT_FOUND lists the known levels.
  absl::StatusOr<Level> Find(const std::string& name) const;
  // What `skip` asks for; its choice must be set. NOT_FOUND, INVALID_ARGUMENT, PERMISSION_DENIED
  // (custom skips are off).
  absl::StatusOr<Level> Choose(const v1::Skip& skip) const;
  // The ceiling that `skip` gives; nullopt if there is none, or no more than `chosen`. The same
  // errors, and those of CheckCeiling.
  absl::StatusOr<std::optional<SkipSet>> Ceiling(const v1::Skip& skip, const Level& chosen) const;
  // The first level that skips exactly `skip`, else the custom level.
  Level LevelOf(const SkipSet& skip) const;

 private:
  absl::Status AddConfigured(const LevelConfig& level, const LevelsFile* file);
  absl::Status AddCalibrated(const CalibratedLevel& level);
  absl::Status CheckPolicy(const std::string& field, const SkipSet& skip) const;
  absl::Status CheckWindows(const std::string& field, const SkipSet& skip) const;
  absl::Status CheckCustom() const;
  absl::StatusOr<SkipSet> Custom(const std::string& field, const std::string& spec) const;

  std::vector<Level> levels_;
  size_t default_ = 0;
  bool has_file_ = false;
  bool allow_custom_ = true;
  int num_layers_ = 0;
  int max_context_ = 0;  // tokens
  int max_skipped_attention_ = 0;
  int max_windowed_attention_ = 0;
  int min_window_ = 0;  // tokens
};

}  // namespace skipstone::server
