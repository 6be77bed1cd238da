// levels.yaml: levels that were chosen and measured for one model (skipstone-calibrate writes it,
// the server reads it), and the maps beside it, a safetensors file.
//
//   format: 1
//   model: {fingerprint: 0123456789abcdef, layers: 30, hidden: 576}
//   method: {ranker: greedy-kl, text: 89abcdef01234567, windows: 32, window: 256, seed: 1}
//   maps: levels.safetensors
//   levels:
//   - name: attn-25-diag
//     skip: attn:22-29@0123456789abcdef   # the hash of its maps; who writes by hand may leave it
//     out family: suffix compensation: diag quality: {kl: [0.9, 0.8, 1.0], perplexity: [70, 66,
//     75], ...} saved: {decode_ms: 1.2, pages: 0.27}
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/levels/map_tensors.h"
#include "engine/model/safetensors.h"
#include "engine/skip/skip_set.h"
#include "engine/skip/sublayer_maps.h"

namespace skipstone {

struct LevelMap {
  int layer = 0;
  Sublayer sublayer = Sublayer::kAttention;
  MapTensors tensors;
};

// [value, low, high], the 95 % interval, on text that neither choice nor fit has seen.
struct Measured {
  double value = 0, low = 0, high = 0;
};

struct LevelQuality {
  Measured kl;  // nats per token
  Measured perplexity;
  Measured agreement;                 // top-1, 0 to 1
  std::optional<Measured> retention;  // of generated tokens, 0 to 1
  std::optional<Measured> choice;     // accuracy less the full model's
  std::optional<Measured> recall;     // last words less the full model's
};

// Calls visit(key, member) for each; a member is Measured or std::optional<Measured>.
template <class Quality, class Visit>
void ForEachMeasure(Quality& quality, Visit visit) {
  visit("kl", quality.kl);
  visit("perplexity", quality.perplexity);
  visit("agreement", quality.agreement);
  visit("retention", quality.retention);
  visit("choice", quality.choice);
  visit("recall", quality.recall);
}

struct CalibratedLevel {
  std::string name;
  SkipSet skip;                    // with the fingerprints of its maps
  std::string family;              // levels of one family are nested
  std::string compensation;        // name: "bias", "diag", "rank=16", "full"; empty: none
  bool sheds_to_identity = false;  // a sequence may be shed from here to a level without maps
  std::vector<LevelMap> maps;
  std::optional<LevelQuality> quality;
  std::optional<double> decode_ms_saved;  // for each token
  std::optional<double> pages_saved;      // share of the full model's
};

struct LevelsFile {
  uint64_t model_fingerprint = 0;
  int num_layers = 0;
  int hidden = 0;
  std::string ranker;
  uint64_t text_hash = 0;
  int windows = 0;
  int window = 0;  // tokens
  uint64_t seed = 0;
  std::vector<CalibratedLevel> levels;
  std::shared_ptr<const Safetensors> storage;  // that the maps point into, if read
};

// [a-z][a-z0-9._-]*, but none and custom, which mean something else.
bool IsLevelName(std::string_view name);

// Errors name file, line or tensor, and what is wrong: NOT_FOUND, INVALID_ARGUMENT (unknown or
// missing key, torn file, a map of another shape, NaN or infinite numbers, a map of a sublayer that
// its level keeps, a level outside its family's nesting, a name twice).
absl::StatusOr<LevelsFile> ReadLevelsFile(const std::string& path);
// Writes `path` and, if there are maps, a file beside it; each is complete or not there. Equal
// contents give equal bytes. The same errors, and UNAVAILABLE if it cannot be written; the
// fingerprints in skip sets must be those of the maps.
absl::Status WriteLevelsFile(const LevelsFile& file, const std::string& path);

}  // namespace skipstone
