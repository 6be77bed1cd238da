// What is known of one finished request and the experiments that it met: one line of JSON in the
// exposure log of a server. Reports are made of these lines, and they join with what a product
// measures elsewhere. They hold neither units nor, unless that is switched on, texts.
//
//   log << FormatExposure(record);                    // with its line end
//   absl::StatusOr<ExposureRecord> read = ParseExposure(line);
//
// Each field stands once, in VisitFields of its struct, which writes and reads it. Names follow
// OpenFeature where it has them: flag_key, variant, reason, error_code, targeting key (hashed).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/quality/measures.h"

namespace skipstone::experiment {

enum class Design { kMixed, kSwitchback };
const char* NameOf(Design design);  // "mixed", "switchback"

// Why a request is in an arm, or in none.
enum class Reason {
  kSplit,        // by its unit's hash or by the schedule
  kGatewayArm,   // the caller named the arm
  kDisabled,     // the experiment, or the arm that it would have had, is off
  kExcluded,     // its tenant, its priority, or its unit's place in the layer
  kUnitMissing,  // it carries no unit, or no arm where the caller names it
  kUnknownArm,   // the caller named an arm that does not exist
};
// Stable: "split", "gateway_arm", "disabled", "excluded", "unit_missing", "unknown_arm".
const char* NameOf(Reason reason);

// Written as 16 hexadecimal digits.
struct Hash {
  uint64_t value = 0;
  friend bool operator==(const Hash&, const Hash&) = default;
};

// Where in the schedule of a switchback a request arrived.
struct ExposureWindow {
  int64_t index = 0;
  int64_t ended_index = 0;  // the window of its end: later ones ran beside another arm
  int64_t block = 0;
  double seconds = 0;   // the length of a window
  bool counted = true;  // false: in the washout
  friend bool operator==(const ExposureWindow&, const ExposureWindow&) = default;
};

// What one experiment made of the request.
struct Exposure {
  std::string experiment;
  std::string layer;
  Design design = Design::kMixed;
  Hash generation;  // of the experiment's configuration: mix no two of them
  Reason reason = Reason::kSplit;
  std::string arm;   // empty: none, see the reason
  double share = 0;  // of its arm: what a sample-ratio test expects; 0 without one
  std::optional<Hash> unit;
  std::optional<ExposureWindow> window;  // of a switchback

  bool assigned() const { return reason == Reason::kSplit || reason == Reason::kGatewayArm; }
  friend bool operator==(const Exposure&, const Exposure&) = default;
};

// The served tokens under the full model, teacher-forced; sums, so that requests add up.
struct ShadowResult {
  quality::WindowSums sums;       // of the level: kl, agreement, nll and calibration
  double logprob_difference = 0;  // of the served tokens, the full model's less the level's, nats
};

// Texts of a request, where exposure_text is on.
struct ExposureText {
  std::string prompt;
  std::vector<std::string> outputs;
  friend bool operator==(const ExposureText&, const ExposureText&) = default;
};

struct ExposureRecord {
  int64_t time_unix_ms = 0;  // of its arrival
  std::string request_id;
  std::optional<std::string> traceparent;  // W3C Trace Context
  std::vector<Exposure> exposures;         // by the order of the experiments; none outside of them
  std::string level;                       // requested level, or "custom"
  Hash skip_id;                            // of the set that it started with, with its maps
  std::optional<Hash> compensation;        // of its maps
  bool enlarged = false;                   // load added sublayers at its start or later
  std::string outcome;                     // as in requests_total
  // Intervals of SEMANTICS "Intervals and attribution", in seconds; unset where there were none.
  double queue_s = 0;
  std::optional<double> ttft_s;
  std::optional<double> itl_mean_s;  // between the tokens of an output
  double e2e_s = 0;
  double attributed_s = 0;
  int64_t prompt_tokens = 0;
  int64_t cached_prompt_tokens = 0;
  int64_t generated_tokens = 0;  // over its outputs, as the pages
  int64_t kv_pages_used = 0;
  int64_t kv_pages_omitted = 0;
  std::optional<ShadowResult> shadow;  // unset: it was not scored
  std::optional<ExposureText> text;

  // Null if the experiment has nothing to do with the request.
  const Exposure* Of(std::string_view experiment) const;
};

// One line with its end. What is not UTF-8 appears as U+FFFD; a number that is not finite as 0.
std::string FormatExposure(ExposureRecord record);

// Without its end. INVALID_ARGUMENT says whether the line is torn, is no record, or which field is
// missing or wrong. Fields that later versions add are passed over.
absl::StatusOr<ExposureRecord> ParseExposure(std::string_view line);

}  // namespace skipstone::experiment
