#include "engine/levels/map_tensors.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "absl/strings/str_format.h"
#include "base/hash.h"

namespace skipstone {
namespace {

// Neither NaN nor infinite: those have all bits of the exponent set.
template <class Bits>
bool AllFinite(const Tensor& tensor, Bits exponent) {
  const auto* const data = static_cast<const char*>(tensor.data);
  for (int64_t i = 0; i < tensor.rows * tensor.cols; ++i) {
    Bits bits;
    std::memcpy(&bits, data + i * sizeof(bits), sizeof(bits));
    if ((bits & exponent) == exponent) return false;
  }
  return true;
}

bool AllFinite(const Tensor& tensor) {
  switch (tensor.type) {
    case DType::kF32:
      return AllFinite<uint32_t>(tensor, 0x7f800000);
    case DType::kF16:
      return AllFinite<uint16_t>(tensor, 0x7c00);
    case DType::kBF16:
      return AllFinite<uint16_t>(tensor, 0x7f80);
  }
  return false;
}

// Why the part's shape is none for it; empty: it is.
std::string ShapeError(const MapTensors& map, Tensor MapTensors::*part, int hidden) {
  const Tensor& tensor = map.*part;
  if (part == &MapTensors::down) {
    if (map.up.data == nullptr) return "there is no 'up' beside it";
    if (tensor.rows > hidden) {
      return absl::StrFormat("its rank, %d, is above the hidden size, %d", tensor.rows, hidden);
    }
    if (tensor.rows >= 1 && tensor.cols == hidden) return "";
    return absl::StrFormat("[%d, %d] where [rank, %d] is wanted", tensor.rows, tensor.cols, hidden);
  }
  const int64_t rows = part == &MapTensors::up ? hidden : 1;
  const int64_t cols =
      part == &MapTensors::up && map.down.data != nullptr ? map.down.rows : int64_t{hidden};
  if (tensor.rows == rows && tensor.cols == cols) return "";
  return absl::StrFormat("[%d, %d] where [%d, %d] is wanted", tensor.rows, tensor.cols, rows, cols);
}

}  // namespace

uint64_t FingerprintOf(const MapTensors& map) {
  const auto number = [](const int64_t& value) {
    return std::string_view(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  uint64_t hash = Fnv1a64("");
  for (const auto& [name, member] : kMapParts) {
    const Tensor& part = map.*member;
    if (part.data == nullptr) continue;
    hash = Fnv1a64(NameOf(part.type), Fnv1a64(name, hash));
    hash = Fnv1a64(number(part.cols), Fnv1a64(number(part.rows), hash));
    hash = Fnv1a64({static_cast<const char*>(part.data), part.bytes()}, hash);
  }
  return std::max<uint64_t>(hash, 1);
}

absl::Status CheckMap(const MapTensors& map, int hidden, const std::string& name) {
  bool empty = true;
  for (const auto& [part, member] : kMapParts) {
    const Tensor& tensor = map.*member;
    if (tensor.data == nullptr) continue;
    empty = false;
    std::string why = ShapeError(map, member, hidden);
    if (why.empty() && !AllFinite(tensor)) why = "a number is NaN or infinite";
    if (why.empty()) continue;
    return absl::InvalidArgumentError(absl::StrFormat("tensor '%s.%s': %s", name, part, why));
  }
  if (!empty) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat("the map '%s' has no tensor", name));
}

}  // namespace skipstone
