#include "engine/model/weights.h"

#include <initializer_list>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"

namespace skipstone {
namespace {

class TensorFinder {
 public:
  TensorFinder(const ModelConfig& config, const Safetensors& file) : config_(config), file_(file) {}

  absl::StatusOr<ModelTensors> Find() {
    const ModelShape& s = config_.shape;
    ModelTensors tensors;
    // The embedding comes first: its type is what all other matrices must have.
    SKIPSTONE_ASSIGN_OR_RETURN(tensors.embedding,
                               Matrix("model.embed_tokens.weight", s.vocab, s.hidden));
    for (int layer = 0; layer < s.num_layers; ++layer) {
      SKIPSTONE_ASSIGN_OR_RETURN(LayerTensors found,
                                 Layer(absl::StrFormat("model.layers.%d.", layer)));
      tensors.layers.push_back(found);
    }
    SKIPSTONE_ASSIGN_OR_RETURN(tensors.final_norm, Norm("model.norm.weight"));
    tensors.head = tensors.embedding;
    // Writers store the head of a tied model sometimes; the embedding counts.
    expected_.insert("lm_head.weight");
    if (!config_.tied_head) {
      SKIPSTONE_ASSIGN_OR_RETURN(tensors.head, Matrix("lm_head.weight", s.vocab, s.hidden));
    }
    SKIPSTONE_RETURN_IF_ERROR(RefuseUnknownNames());
    return tensors;
  }

 private:
  absl::StatusOr<LayerTensors> Layer(const std::string& prefix) {
    const ModelShape& s = config_.shape;
    const std::string attention = prefix + "self_attn.";
    const std::string mlp = prefix + "mlp.";
    LayerTensors t;
    SKIPSTONE_ASSIGN_OR_RETURN(t.attention_norm, Norm(prefix + "input_layernorm.weight"));
    SKIPSTONE_ASSIGN_OR_RETURN(t.q, Matrix(attention + "q_proj.weight", s.q_size(), s.hidden));
    SKIPSTONE_ASSIGN_OR_RETURN(t.k, Matrix(attention + "k_proj.weight", s.kv_size(), s.hidden));
    SKIPSTONE_ASSIGN_OR_RETURN(t.v, Matrix(attention + "v_proj.weight", s.kv_size(), s.hidden));
    SKIPSTONE_ASSIGN_OR_RETURN(t.o, Matrix(attention + "o_proj.weight", s.hidden, s.q_size()));
    SKIPSTONE_ASSIGN_OR_RETURN(t.mlp_norm, Norm(prefix + "post_attention_layernorm.weight"));
    SKIPSTONE_ASSIGN_OR_RETURN(t.gate, Matrix(mlp + "gate_proj.weight", s.ffn, s.hidden));
    SKIPSTONE_ASSIGN_OR_RETURN(t.up, Matrix(mlp + "up_proj.weight", s.ffn, s.hidden));
    SKIPSTONE_ASSIGN_OR_RETURN(t.down, Matrix(mlp + "down_proj.weight", s.hidden, s.ffn));
    return t;
  }

  absl::StatusOr<const StoredTensor*> Stored(const std::string& name,
                                             std::initializer_list<int64_t> shape) {
    const StoredTensor* stored = file_.Find(name);
    if (stored == nullptr) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "tensor '%s' is missing; config.json says %d layers", name, config_.shape.num_layers));
    }
    if (stored->shape != std::vector<int64_t>(shape)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("tensor '%s' has shape [%s], config.json says [%s]", name,
                          absl::StrJoin(stored->shape, ", "), absl::StrJoin(shape, ", ")));
    }
    expected_.insert(name);
    return stored;
  }

  absl::StatusOr<Tensor> Matrix(const std::string& name, int64_t rows, int64_t cols) {
    SKIPSTONE_ASSIGN_OR_RETURN(const StoredTensor* stored, Stored(name, {rows, cols}));
    if (!matrix_type_.has_value()) matrix_type_ = stored->type;
    if (stored->type != *matrix_type_) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "tensor '%s' has type %s, the embedding %s; all matrices must have one type", name,
          NameOf(stored->type), NameOf(*matrix_type_)));
    }
    return Tensor{stored->data, stored->type, rows, cols};
  }

  absl::StatusOr<Tensor> Norm(const std::string& name) {
    SKIPSTONE_ASSIGN_OR_RETURN(const StoredTensor* stored, Stored(name, {config_.shape.hidden}));
    return Tensor{stored->data, stored->type, 1, config_.shape.hidden};
  }

  absl::Status RefuseUnknownNames() const {
    for (const auto& item : file_.tensors()) {
      // Older writers stored the RoPE frequencies; they follow from the configuration.
      if (absl::EndsWith(item.first, "rotary_emb.inv_freq")) continue;
      if (expected_.count(item.first) > 0) continue;
      return absl::InvalidArgumentError(
          absl::StrFormat("tensor '%s' is no part of a Llama 2 model of %d layers", item.first,
                          config_.shape.num_layers));
    }
    return absl::OkStatus();
  }

  const ModelConfig& config_;
  const Safetensors& file_;
  std::set<std::string> expected_;
  std::optional<DType> matrix_type_;
};

absl::StatusOr<LayerWeights> LoadLayer(const LayerTensors& t, Backend& backend) {
  const auto add = [&](std::initializer_list<Tensor> group) {
    return backend.AddWeights(std::span(group.begin(), group.size()));
  };
  LayerWeights w;
  SKIPSTONE_ASSIGN_OR_RETURN(w.attention_norm, add({t.attention_norm}));
  SKIPSTONE_ASSIGN_OR_RETURN(w.qkv, add({t.q, t.k, t.v}));
  SKIPSTONE_ASSIGN_OR_RETURN(w.o, add({t.o}));
  SKIPSTONE_ASSIGN_OR_RETURN(w.mlp_norm, add({t.mlp_norm}));
  SKIPSTONE_ASSIGN_OR_RETURN(w.gate_up, add({t.gate, t.up}));
  SKIPSTONE_ASSIGN_OR_RETURN(w.down, add({t.down}));
  return w;
}

}  // namespace

absl::StatusOr<ModelTensors> FindTensors(const ModelConfig& config, const Safetensors& file) {
  return TensorFinder(config, file).Find();
}

absl::StatusOr<Weights> LoadWeights(const ModelTensors& tensors, Backend& backend) {
  Weights weights;
  SKIPSTONE_ASSIGN_OR_RETURN(weights.embedding, backend.AddWeights({&tensors.embedding, 1}));
  for (const LayerTensors& layer : tensors.layers) {
    SKIPSTONE_ASSIGN_OR_RETURN(LayerWeights loaded, LoadLayer(layer, backend));
    weights.layers.push_back(loaded);
  }
  SKIPSTONE_ASSIGN_OR_RETURN(weights.final_norm, backend.AddWeights({&tensors.final_norm, 1}));
  // A tied head is the embedding: one copy on a device.
  weights.head = weights.embedding;
  if (tensors.head.data != tensors.embedding.data || tensors.head.seed != tensors.embedding.seed) {
    SKIPSTONE_ASSIGN_OR_RETURN(weights.head, backend.AddWeights({&tensors.head, 1}));
  }
  return weights;
}

}  // namespace skipstone
