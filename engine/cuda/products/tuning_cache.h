// Algorithms of cuBLASLt that were timed on this device, kept in a text file from start to start.
//
//   TuningCache cache(path);
//   if (const TunedAlgorithm* known = cache.Find(key)) ...   // else time, then cache.Set(key, ...)
//   cache.Save();
//
// The file's first line names device, driver and library: algorithms of another are of no use. Its
// last line is a hash of the rest. A file that does not fit is ignored, and written anew by Save.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/cuda/products/lt_product.h"

namespace skipstone::cuda {

struct TunedAlgorithm {
  cublasLtMatmulAlgo_t algorithm = {};
  double us = 0;  // that a product took behind a cleared cache, for readers of the file
};
using TunedAlgorithms = std::map<LtShape, TunedAlgorithm>;

// INVALID_ARGUMENT says what is wrong with the file's text. `device` is the first line that fits.
absl::StatusOr<TunedAlgorithms> ParseTuning(std::string_view text, std::string_view device);
std::string FormatTuning(const TunedAlgorithms& algorithms, std::string_view device);

// One line, of the first visible device. Errors: INTERNAL.
absl::StatusOr<std::string> TuningDevice();

// Nothing here fails: what cannot be read or written is a warning in the log. Copyable. Step thread
// only; processes may share the file.
class TuningCache {
 public:
  TuningCache() = default;
  // Reads the file; an empty path stands for none.
  explicit TuningCache(const std::string& path);

  // Null if unknown; valid until the next Set.
  const TunedAlgorithm* Find(const LtShape& key) const;
  void Set(const LtShape& key, const TunedAlgorithm& algorithm);
  // Replaces the file, if there is something new, in one step: a reader sees the old or the new
  // one.
  void Save();

 private:
  std::string path_;
  std::string device_;
  TunedAlgorithms algorithms_;
  bool dirty_ = false;
};

}  // namespace skipstone::cuda
