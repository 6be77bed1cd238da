// The named skip levels of a server and the policy on skip sets: decides which sublayers a request
// skips or windows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/skip/skip_set.h"
#include "server/server_config.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

// Level of requests that name their sublayers themselves.
inline constexpr char kCustomLevel[] = "custom";

struct Level {
  std::string name;
  SkipSet skip;
};

// Immutable, so thread-safe.
class Levels {
 public:
  // INVALID_ARGUMENT names the level: malformed name or spec, more skipped or windowed than the
  // policy allows, a window wider than `max_context` tokens, or a default level that does not
  // exist.
  static absl::StatusOr<Levels> Make(const ServerConfig& config, int num_layers, int max_context);

  const std::vector<Level>& all() const { return levels_; }
  const Level& default_level() const { return levels_[default_]; }
  bool allow_custom() const { return allow_custom_; }
  int max_skipped_attention() const { return max_skipped_attention_; }
  int max_windowed_attention() const { return max_windowed_attention_; }
  int min_window() const { return min_window_; }  // tokens

  // NOT_FOUND lists the known levels.
  absl::StatusOr<Level> Find(const std::string& name) const;
  // What `skip` asks for; its choice must be set. NOT_FOUND, INVALID_ARGUMENT, PERMISSION_DENIED
  // (custom skips are off).
  absl::StatusOr<Level> Choose(const v1::Skip& skip) const;
  // The ceiling that `skip` gives; nullopt if there is none, or no more than `chosen`. The same
  // errors, and INVALID_ARGUMENT names a layer of which it leaves more, or another window, than
  // `chosen`.
  absl::StatusOr<std::optional<SkipSet>> Ceiling(const v1::Skip& skip, const SkipSet& chosen) const;
  // The first level that skips exactly `skip`, else the custom level.
  Level LevelOf(const SkipSet& skip) const;

 private:
  absl::Status CheckPolicy(const std::string& field, const SkipSet& skip) const;
  absl::Status CheckWindows(const std::string& field, const SkipSet& skip) const;
  absl::Status CheckCustom() const;
  absl::StatusOr<SkipSet> Custom(const std::string& field, const std::string& spec) const;

  std::vector<Level> levels_;
  size_t default_ = 0;
  bool allow_custom_ = true;
  int num_layers_ = 0;
  int max_context_ = 0;  // tokens
  int max_skipped_attention_ = 0;
  int max_windowed_attention_ = 0;
  int min_window_ = 0;  // tokens
};

}  // namespace skipstone::server
