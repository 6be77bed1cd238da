// A small model with random weights in any type, for the tests of a backend's stages.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <random>
#include <vector>

#include "base/check.h"
#include "engine/backend/backend.h"
#include "engine/model/weights.h"

namespace skipstone {

inline uint16_t ToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>(bits >> 16);
}

inline float FromBf16(uint16_t value) {
  const uint32_t bits = uint32_t{value} << 16;
  float out;
  std::memcpy(&out, &bits, sizeof(out));
  return out;
}

// Normal and zero halves only (and NaN): what the tests store.
inline uint16_t ToF16(float value) {
  if (std::isnan(value)) return 0x7e00;
  if (std::abs(value) < 0x1p-14f) return 0;
  int exponent;
  const float mantissa = std::frexp(std::abs(value), &exponent);
  const auto fraction = static_cast<uint16_t>((mantissa * 2 - 1) * 1024);
  return (value < 0 ? 0x8000 : 0) | (exponent + 14) << 10 | fraction;
}

inline float FromF16(uint16_t value) {
  const int exponent = (value >> 10) & 31;
  if (exponent == 0) return 0;
  if (exponent == 31) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = std::ldexp(1.0f + (value & 1023) / 1024.0f, exponent - 15);
  return value & 0x8000 ? -magnitude : magnitude;
}

// What a map consists of.
struct StageMapForm {
  bool bias = false;
  bool scale = false;
  int rank = 0;  // 0: no product
  bool full = false;
};

// What a form lacks has no data.
struct StageMap {
  Tensor bias, scale, down, up;
};

// Owns the memory its tensors point into.
class StageModel {
 public:
  StageModel(const ModelShape& shape, DType type, uint64_t seed = 1)
      : shape(shape), type(type), random_(seed) {
    embedding = Random(shape.vocab, shape.hidden, 1.0f);
    // The last token poisons whatever it touches.
    for (int i = 0; i < shape.hidden; ++i) {
      Set(embedding, shape.vocab - 1, i, std::numeric_limits<float>::quiet_NaN());
    }
    for (int l = 0; l < shape.num_layers; ++l) {
      LayerTensors layer;
      layer.attention_norm = Random(1, shape.hidden, 0.3f, 1.0f);
      layer.q = Random(shape.q_size(), shape.hidden, 1.5f / std::sqrt(shape.hidden));
      layer.k = Random(shape.kv_size(), shape.hidden, 1.5f / std::sqrt(shape.hidden));
      layer.v = Random(shape.kv_size(), shape.hidden, 1.0f / std::sqrt(shape.hidden));
      layer.o = Random(shape.hidden, shape.q_size(), 1.0f / std::sqrt(shape.q_size()));
      layer.mlp_norm = Random(1, shape.hidden, 0.3f, 1.0f);
      layer.gate = Random(shape.ffn, shape.hidden, 2.0f / std::sqrt(shape.hidden));
      layer.up = Random(shape.ffn, shape.hidden, 1.0f / std::sqrt(shape.hidden));
      layer.down = Random(shape.hidden, shape.ffn, 1.0f / std::sqrt(shape.ffn));
      layers.push_back(layer);
    }
    final_norm = Random(1, shape.hidden, 0.3f, 1.0f);
    head = Random(shape.vocab, shape.hidden, 2.0f / std::sqrt(shape.hidden));
  }

  // Every sublayer gets maps of these forms.
  void AddMaps(const std::vector<StageMapForm>& forms) {
    attention_maps.resize(shape.num_layers);
    mlp_maps.resize(shape.num_layers);
    for (int l = 0; l < shape.num_layers; ++l) {
      for (const StageMapForm& form : forms) {
        attention_maps[l].push_back(RandomMap(form));
        mlp_maps[l].push_back(RandomMap(form));
      }
    }
  }

  int32_t poison_token() const { return shape.vocab - 1; }

  double At(const Tensor& t, int64_t row, int64_t col) const {
    const int64_t i = row * t.cols + col;
    if (t.type == DType::kF32) return static_cast<const float*>(t.data)[i];
    const uint16_t bits = static_cast<const uint16_t*>(t.data)[i];
    return t.type == DType::kBF16 ? FromBf16(bits) : FromF16(bits);
  }

  void Set(const Tensor& t, int64_t row, int64_t col, float value) {
    void* data = const_cast<void*>(t.data);
    const int64_t i = row * t.cols + col;
    if (t.type == DType::kF32) {
      static_cast<float*>(data)[i] = value;
    } else {
      static_cast<uint16_t*>(data)[i] = t.type == DType::kBF16 ? ToBf16(value) : ToF16(value);
    }
  }

  Weights AddTo(Backend& backend) const {
    const auto add = [&](std::vector<Tensor> group) {
      absl::StatusOr<WeightId> id = backend.AddWeights(group);
      SKIPSTONE_CHECK(id.ok());
      return *id;
    };
    Weights weights;
    weights.embedding = add({embedding});
    for (const LayerTensors& l : layers) {
      weights.layers.push_back({add({l.attention_norm}), add({l.q, l.k, l.v}), add({l.o}),
                                add({l.mlp_norm}), add({l.gate, l.up}), add({l.down})});
    }
    for (size_t l = 0; l < attention_maps.size(); ++l) {
      const auto add_maps = [&](const std::vector<StageMap>& maps, std::vector<MapWeights>* to) {
        const auto id = [&](const Tensor& t) { return t.data ? add({t}) : WeightId(); };
        for (const StageMap& m : maps) {
          to->push_back({id(m.bias), id(m.scale), id(m.down), id(m.up)});
        }
      };
      add_maps(attention_maps[l], &weights.layers[l].attention_maps);
      add_maps(mlp_maps[l], &weights.layers[l].mlp_maps);
    }
    weights.final_norm = add({final_norm});
    weights.head = add({head});
    return weights;
  }

  ModelShape shape;
  DType type;
  Tensor embedding, final_norm, head;
  std::vector<LayerTensors> layers;
  std::vector<std::vector<StageMap>> attention_maps, mlp_maps;  // by layer; empty: none

 private:
  StageMap RandomMap(const StageMapForm& form) {
    StageMap map;
    const float input_scale = 1.0f / std::sqrt(shape.hidden);
    if (form.bias) map.bias = Random(1, shape.hidden, 0.5f);
    if (form.scale) map.scale = Random(1, shape.hidden, 0.5f);
    if (form.full) map.up = Random(shape.hidden, shape.hidden, input_scale);
    if (form.rank == 0) return map;
    map.down = Random(form.rank, shape.hidden, input_scale);
    map.up = Random(shape.hidden, form.rank, 1.0f / std::sqrt(form.rank));
    return map;
  }

  Tensor Random(int64_t rows, int64_t cols, float scale, float mean = 0.0f) {
    storage_.emplace_back(rows * cols * SizeOf(type));
    const Tensor t{storage_.back().data(), type, rows, cols};
    std::normal_distribution<float> normal(mean, scale);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) Set(t, r, c, normal(random_));
    }
    return t;
  }

  std::mt19937_64 random_;
  std::deque<std::vector<char>> storage_;
};

}  // namespace skipstone
