#include "engine/cuda/products/tuning_cache.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/status.h"
#include "engine/cuda/device/device_error.h"

namespace skipstone::cuda {
namespace {

// Of some 20,000 algorithms; a server has fewer than 100. A larger file is not ours.
constexpr size_t kMaxFileBytes = 4 << 20;
constexpr size_t kFields = 9;
constexpr size_t kHexDigits = 2 * sizeof(cublasLtMatmulAlgo_t);

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// The whole of `text` as a number.
template <class T, class... Base>
std::optional<T> Number(std::string_view text, Base... base) {
  T value = {};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base...);
  if (error != std::errc() || stop != end || text.empty()) return std::nullopt;
  return value;
}

// `yes` or `no`.
std::optional<bool> Choice(std::string_view text, std::string_view yes, std::string_view no) {
  if (text != yes && text != no) return std::nullopt;
  return text == yes;
}

std::optional<int> Size(std::string_view text) {
  const std::optional<int> size = Number<int>(text);
  return size > 0 ? size : std::nullopt;
}

std::optional<cublasLtMatmulAlgo_t> Algorithm(std::string_view hex) {
  if (hex.size() != kHexDigits) return std::nullopt;
  cublasLtMatmulAlgo_t algorithm;
  for (uint64_t& word : algorithm.data) {
    const auto value = Number<uint64_t>(hex.substr(0, 16), 16);
    if (!value) return std::nullopt;
    word = *value;
    hex.remove_prefix(16);
  }
  return algorithm;
}

std::string LineOf(const LtShape& key, const TunedAlgorithm& tuned) {
  std::string line =
      absl::StrFormat("%s %d %d %d %d %s %s ", NameOf(key.type), key.rows, key.outputs, key.inputs,
                      key.y_stride, key.f32_output ? "f32" : "16bit", key.add ? "add" : "store");
  for (const uint64_t word : tuned.algorithm.data) absl::StrAppendFormat(&line, "%016x", word);
  return line + absl::StrFormat(" %.2f\n", tuned.us);
}

bool ParseLine(std::string_view line, TunedAlgorithms* out) {
  const std::vector<std::string_view> fields = Split(line, ' ');
  if (fields.size() != kFields) return false;
  const auto bf16 = Choice(fields[0], NameOf(DType::kBF16), NameOf(DType::kF16));
  const auto rows = Size(fields[1]), outputs = Size(fields[2]), inputs = Size(fields[3]);
  const auto y_stride = Size(fields[4]);
  const auto f32_output = Choice(fields[5], "f32", "16bit");
  const auto add = Choice(fields[6], "add", "store");
  const auto algorithm = Algorithm(fields[7]);
  const auto us = Number<double>(fields[8]);
  if (!bf16 || !rows || !outputs || !inputs || !y_stride || !f32_output || !add || !algorithm ||
      !us) {
    return false;
  }
  const LtShape key = {.type = *bf16 ? DType::kBF16 : DType::kF16,
                       .rows = *rows,
                       .outputs = *outputs,
                       .inputs = *inputs,
                       .y_stride = *y_stride,
                       .f32_output = *f32_output,
                       .add = *add};
  return out->emplace(key, TunedAlgorithm{*algorithm, *us}).second;
}

std::string LastLine(std::string_view rest) {
  return absl::StrFormat("hash %016x\n", Fnv1a64(rest));
}

std::string ErrorText(const char* what, const std::string& path) {
  return absl::StrFormat("%s %s: %s", what, path, std::strerror(errno));
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

bool WriteAll(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// By way of a file of its own name: other processes may write at the same time. After a loss of
// power the file may be torn; its hash shows that.
absl::Status Replace(const std::string& path, std::string_view bytes) {
  std::string temporary = path + ".XXXXXX";
  const int file = mkostemp(temporary.data(), O_CLOEXEC);
  if (file < 0) return absl::UnavailableError(ErrorText("cannot create", temporary));
  constexpr mode_t kReadableByAll = 0644;
  bool good = fchmod(file, kReadableByAll) == 0 && WriteAll(file, bytes);
  good = close(file) == 0 && good;
  if (good && rename(temporary.c_str(), path.c_str()) == 0) return absl::OkStatus();
  absl::Status failed = absl::UnavailableError(ErrorText("cannot write", path));
  unlink(temporary.c_str());
  return failed;
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
  const std::vector<std::string_view> lines = Split(text.substr(0, text.size() - last), '\n');
  for (size_t i = 1; i < lines.size(); ++i) {
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
  const absl::Status written = Replace(path_, FormatTuning(algorithms_, device_));
  if (written.ok()) return;
  Log(LogSeverity::kWarning, absl::StrFormat("tuning cache: %s", std::string(written.message())));
}

}  // namespace skipstone::cuda
