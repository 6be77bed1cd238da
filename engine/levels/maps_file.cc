#include "engine/levels/maps_file.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace skipstone {
namespace {

std::string NameOf(const std::string& level, int layer, Sublayer sublayer) {
  return absl::StrFormat("%s.layers.%d.%s", level, layer,
                         sublayer == Sublayer::kAttention ? "attention" : "mlp");
}

absl::Status Error(const std::string& file, const std::string& tensor, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrFormat("%s: tensor '%s': %s", file, tensor, why));
}

// A tensor's name, taken apart. Names of levels may have dots, too.
struct NameParts {
  std::string level;
  int layer = 0;
  Sublayer sublayer = Sublayer::kAttention;
  Tensor MapTensors::*part = nullptr;
};

// Takes what follows the last dot of `text` away from it.
std::string TakeLast(std::string& text) {
  const size_t dot = text.rfind('.');
  std::string last = text.substr(dot == std::string::npos ? 0 : dot + 1);
  text.resize(dot == std::string::npos ? 0 : dot);
  return last;
}

std::optional<NameParts> ParseName(const std::string& name) {
  NameParts parts;
  std::string rest = name;
  const std::string part = TakeLast(rest);
  for (const auto& [known, member] : kMapParts) {
    if (part == known) parts.part = member;
  }
  const std::string map = rest;
  if (TakeLast(rest) == "mlp") parts.sublayer = Sublayer::kMlp;
  if (parts.part == nullptr || !absl::SimpleAtoi(TakeLast(rest), &parts.layer)) return std::nullopt;
  TakeLast(rest);
  parts.level = rest;
  // What was taken for granted: "layers", "attention", a number without signs and zeros before it.
  if (map != NameOf(rest, parts.layer, parts.sublayer)) return std::nullopt;
  return parts;
}

absl::StatusOr<Tensor> TensorOf(const StoredTensor& stored, const std::string& path,
                                const std::string& name) {
  if (!stored.unserved_type.empty()) {
    return Error(
        path, name,
        absl::StrFormat("dtype '%s' is not served; F32, F16 and BF16 are", stored.unserved_type));
  }
  const std::vector<int64_t>& shape = stored.shape;
  if (shape.size() == 1) return Tensor{stored.data, stored.type, 1, shape[0]};
  if (shape.size() == 2) return Tensor{stored.data, stored.type, shape[0], shape[1]};
  return Error(path, name, absl::StrFormat("%d dimensions where 1 or 2 are wanted", shape.size()));
}

bool Keeps(const SkipSet& skip, int layer, Sublayer sublayer) {
  return sublayer == Sublayer::kAttention ? skip.KeepsAttention(layer) : skip.KeepsMlp(layer);
}

// Finds the place of a tensor among the maps of its level.
absl::StatusOr<Tensor*> PlaceOf(const NameParts& name, const std::string& path,
                                const std::string& tensor, LevelsFile& file) {
  const auto level = std::ranges::find(file.levels, name.level, &CalibratedLevel::name);
  if (level == file.levels.end()) {
    return Error(path, tensor, absl::StrFormat("there is no level '%s'", name.level));
  }
  if (name.layer < 0 || name.layer >= file.num_layers) {
    return Error(
        path, tensor,
        absl::StrFormat("layer %d is outside the model's %d layers", name.layer, file.num_layers));
  }
  if (Keeps(level->skip, name.layer, name.sublayer)) {
    return Error(path, tensor,
                 absl::StrFormat("level '%s', %s, keeps this sublayer", level->name,
                                 level->skip.ToString()));
  }
  const auto is_it = [&](const LevelMap& map) {
    return map.layer == name.layer && map.sublayer == name.sublayer;
  };
  auto map = std::ranges::find_if(level->maps, is_it);
  if (map == level->maps.end()) {
    map = level->maps.insert(map, {.layer = name.layer, .sublayer = name.sublayer});
  }
  return &(map->tensors.*name.part);
}

}  // namespace

std::string NameOf(const CalibratedLevel& level, const LevelMap& map) {
  return NameOf(level.name, map.layer, map.sublayer);
}

void SetMap(const LevelMap& map, SkipSet& skip) {
  const uint64_t fingerprint = FingerprintOf(map.tensors);
  if (map.sublayer == Sublayer::kAttention) {
    skip.MapAttention(map.layer, fingerprint);
  } else {
    skip.MapMlp(map.layer, fingerprint);
  }
}

absl::Status AttachMaps(std::shared_ptr<const Safetensors> storage, const std::string& path,
                        LevelsFile* file) {
  for (const auto& [name, stored] : storage->tensors()) {
    const std::optional<NameParts> parts = ParseName(name);
    if (!parts) {
      return Error(path, name,
                   "a name like LEVEL.layers.L.attention.bias is wanted: attention or mlp; bias, "
                   "scale, down or up");
    }
    SKIPSTONE_ASSIGN_OR_RETURN(Tensor* const place, PlaceOf(*parts, path, name, *file));
    SKIPSTONE_ASSIGN_OR_RETURN(*place, TensorOf(stored, path, name));
  }
  for (CalibratedLevel& level : file->levels) {
    std::ranges::sort(level.maps, {},
                      [](const LevelMap& map) { return std::tuple(map.layer, map.sublayer); });
    for (const LevelMap& map : level.maps) SetMap(map, level.skip);
  }
  file->storage = std::move(storage);
  return absl::OkStatus();
}

MapsBytes BytesOf(const LevelsFile& file) {
  // In an order of their names, so that equal maps give equal files. Larger types first, so that
  // every tensor is aligned.
  std::map<std::pair<bool, std::string>, Tensor> tensors;
  for (const CalibratedLevel& level : file.levels) {
    for (const LevelMap& map : level.maps) {
      for (const auto& [part, member] : kMapParts) {
        const Tensor& tensor = map.tensors.*member;
        if (tensor.data == nullptr) continue;
        tensors[{tensor.type != DType::kF32, NameOf(level, map) + "." + part}] = tensor;
      }
    }
  }
  MapsBytes bytes;
  std::vector<std::string> entries;
  uint64_t end = 0;
  for (const auto& [key, tensor] : tensors) {
    static constexpr const char* kTypes[] = {"F32", "F16", "BF16"};
    const bool vector = key.second.ends_with(".bias") || key.second.ends_with(".scale");
    const std::string shape = vector ? absl::StrFormat("%d", tensor.cols)
                                     : absl::StrFormat("%d,%d", tensor.rows, tensor.cols);
    entries.push_back(absl::StrFormat(R"("%s":{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]})",
                                      key.second, kTypes[static_cast<int>(tensor.type)], shape, end,
                                      end + tensor.bytes()));
    end += tensor.bytes();
    bytes.data.emplace_back(static_cast<const char*>(tensor.data), tensor.bytes());
  }
  std::string header = "{" + absl::StrJoin(entries, ",") + "}";
  header.append((8 - header.size() % 8) % 8, ' ');  // aligns the data
  const uint64_t length = header.size();
  bytes.header.assign(reinterpret_cast<const char*>(&length), sizeof(length));
  bytes.header += header;
  return bytes;
}

}  // namespace skipstone
