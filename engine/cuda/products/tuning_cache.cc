#include "engine/cuda/products/tuning_cache.h"

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/replace_file.h"
#include "base/status.h"
#include "engine/cuda/device/device_error.h"

namespace skipstone::cuda {
namespace {

// Of some 20,000 algorithms; a server has fewer than 100. A larger file is not ours.
constexpr size_t kMaxFileBytes = 4 << 20;
constexpr size_t kFields = 9;
constexpr size_t kHexDigits = 2 * sizeof(cublasLtMatmulAlgo_t);

bool ReadChoice(const std::string& text, const char* yes, const char* no, bool* is_yes) {
  *is_yes = text == yes;
  return *is_yes || text == no;
}

bool ReadSize(const std::string& text, int* size) {
  return absl::SimpleAtoi(text, size) && *size > 0;
}

bool ReadAlgorithm(const std::string& hex, cublasLtMatmulAlgo_t* algorithm) {
  if (hex.size() != kHexDigits) return false;
  for (size_t i = 0; i < std::size(algorithm->data); ++i) {
    if (!absl::SimpleHexAtoi(hex.substr(16 * i, 16), &algorithm->data[i])) return false;
  }
  return true;
}

std::string LineOf(const LtShape& key, const TunedAlgorithm& tuned) {
  std::string line =
      absl::StrFormat("%s %d %d %d %d %s %s ", NameOf(key.type), key.rows, key.outputs, key.inputs,
                      key.y_stride, key.f32_output ? "f32" : "16bit", key.add ? "add" : "store");
  for (const uint64_t word : tuned.algorithm.data) absl::StrAppendFormat(&line, "%016x", word);
  return line + absl::StrFormat(" %.2f\n", tuned.us);
}

bool ParseLine(const std::string& line, TunedAlgorithms* out) {
  const std::vector<std::string> fields = absl::StrSplit(line, ' ');
  if (fields.size() != kFields) return false;
  LtShape key;
  TunedAlgorithm tuned;
  bool bf16 = false;
  if (!ReadChoice(fields[0], NameOf(DType::kBF16), NameOf(DType::kF16), &bf16) ||
      !ReadSize(fields[1], &key.rows) || !ReadSize(fields[2], &key.outputs) ||
      !ReadSize(fields[3], &key.inputs) || !ReadSize(fields[4], &key.y_stride) ||
      !ReadChoice(fields[5], "f32", "16bit", &key.f32_output) ||
      !ReadChoice(fields[6], "add", "store", &key.add) ||
      !ReadAlgorithm(fields[7], &tuned.algorithm) || !absl::SimpleAtod(fields[8], &tuned.us)) {
    return false;
  }
  key.type = bf16 ? DType::kBF16 : DType::kF16;
  return out->emplace(key, tuned).second;
}

std::string LastLine(std::string_view rest) {
  return absl::StrFormat("hash %016x\n", Fnv1a64(rest));
}

// Nothing from a file that does not exist.
absl::StatusOr<TunedAlgorithms> ReadTuning(const std::string& path, std::string_view device) {
  std::ifstream file(path, std::ios::binary);
  if (!file && errno == ENOENT) return TunedAlgorithms();
  std::string text(kMaxFileBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.eof()) return absl::InvalidArgumentError(file ? "it is too large" : "no file to read");
  text.resize(static_cast<size_t>(file.gcount()));
  return ParseTuning(text, device);
}

}  // namespace

absl::StatusOr<TunedAlgorithms> ParseTuning(std::string_view text, std::string_view device) {
  if (text.substr(0, text.find('\n')) != device) {
    return absl::InvalidArgumentError("it is of another device, driver or version");
  }
  const size_t last = LastLine("").size();
  if (text.size() < last ||
      text.substr(text.size() - last) != LastLine(text.substr(0, text.size() - last))) {
    return absl::InvalidArgumentError("its hash is wrong");
  }
  TunedAlgorithms algorithms;
  const std::string_view own = text.substr(0, text.size() - last);
  const std::vector<std::string> lines =
      absl::StrSplit(absl::string_view(own.data(), own.size()), '\n');
  // Behind the last line's end there is nothing.
  for (size_t i = 1; i + 1 < lines.size(); ++i) {
    if (ParseLine(lines[i], &algorithms)) continue;
    return absl::InvalidArgumentError(absl::StrFormat("line %d is no algorithm", i + 1));
  }
  return algorithms;
}

std::string FormatTuning(const TunedAlgorithms& algorithms, std::string_view device) {
  std::string text = std::string(device) + "\n";
  for (const auto& [key, tuned] : algorithms) text += LineOf(key, tuned);
  return text + LastLine(text);
}

absl::StatusOr<std::string> TuningDevice() {
  cudaDeviceProp device;
  int driver = 0;
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(cudaGetDeviceProperties(&device, 0), "device properties"));
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(cudaDriverGetVersion(&driver), "driver version"));
  return absl::StrFormat(
      "skipstone-tuning 1, %s, compute capability %d.%d, %d multiprocessors, driver %d, "
      "cuBLASLt %d",
      device.name, device.major, device.minor, device.multiProcessorCount, driver,
      cublasLtGetVersion());
}

TuningCache::TuningCache(const std::string& path) {
  if (path.empty()) return;
  absl::StatusOr<TunedAlgorithms> read = TunedAlgorithms();
  const absl::StatusOr<std::string> device = TuningDevice();
  if (device.ok()) {
    path_ = path;
    device_ = *device;
    read = ReadTuning(path, device_);
  } else {
    read = device.status();
  }
  if (read.ok()) {
    algorithms_ = *std::move(read);
  } else {
    Log(LogSeverity::kWarning, absl::StrFormat("tuning cache %s is ignored: %s", path,
                                               std::string(read.status().message())));
  }
}

const TunedAlgorithm* TuningCache::Find(const LtShape& key) const {
  const auto found = algorithms_.find(key);
  return found == algorithms_.end() ? nullptr : &found->second;
}

void TuningCache::Set(const LtShape& key, const TunedAlgorithm& algorithm) {
  algorithms_[key] = algorithm;
  dirty_ = true;
}

void TuningCache::Save() {
  if (path_.empty() || !dirty_) return;
  dirty_ = false;
  const absl::Status written = ReplaceFile(path_, FormatTuning(algorithms_, device_));
  if (written.ok()) return;
  Log(LogSeverity::kWarning, absl::StrFormat("tuning cache: %s", std::string(written.message())));
}

}  // namespace skipstone::cuda
