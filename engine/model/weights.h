// A checkpoint on a backend: finds each tensor of the architecture by its Hugging Face name,
// checks type and shape against the configuration, and hands it to the backend.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/model/config.h"
#include "engine/model/safetensors.h"

namespace skipstone {

struct LayerTensors {
  Tensor attention_norm;  // [1, hidden]
  Tensor q;               // [heads * head_dim, hidden]
  Tensor k;               // [kv_heads * head_dim, hidden]
  Tensor v;               // [kv_heads * head_dim, hidden]
  Tensor o;               // [hidden, heads * head_dim]
  Tensor mlp_norm;        // [1, hidden]
  Tensor gate;            // [ffn, hidden]
  Tensor up;              // [ffn, hidden]
  Tensor down;            // [hidden, ffn]
};

// Host views of all weights, each of its own type.
struct ModelTensors {
  Tensor embedding;  // [vocab, hidden]
  std::vector<LayerTensors> layers;
  Tensor final_norm;                     // [1, hidden]
  Tensor head;                           // [vocab, hidden]; the embedding where tied
  std::array<int64_t, 3> elements = {};  // of the stored matrices, by type; none: all have one
  // What most elements of matrices have.
  DType matrix_type() const;
  // What most of the 16-bit ones have; unset without any.
  std::optional<DType> sixteen_bit_type() const;
};

// INVALID_ARGUMENT naming the tensor: missing, of another shape or type than the configuration
// says, or of a name the architecture does not have (the angles of RoPE, `rotary_emb.inv_freq` and
// the like, are ignored). A tied model may store embedding, head, or both if they are equal.
absl::StatusOr<ModelTensors> FindTensors(const ModelConfig& config, const Safetensors& file);

struct LayerWeights {
  WeightId attention_norm, qkv, o, mlp_norm, gate_up, down;
  std::vector<MapWeights> attention_maps, mlp_maps;  // by place: see LayerMaps
};

struct Weights {
  WeightId embedding;
  std::vector<LayerWeights> layers;
  WeightId final_norm;
  WeightId head;
};

// Adds all tensors to the backend.
absl::StatusOr<Weights> LoadWeights(const ModelTensors& tensors, Backend& backend);

}  // namespace skipstone
