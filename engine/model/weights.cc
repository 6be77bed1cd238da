#include "engine/model/weights.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "engine/backend/widen.h"

namespace skipstone {
namespace {

constexpr char kEmbedding[] = "model.embed_tokens.weight";
constexpr char kHead[] = "lm_head.weight";

class TensorFinder {
 public:
  TensorFinder(const ModelConfig& config, const Safetensors& file) : config_(config), file_(file) {}

  absl::StatusOr<ModelTensors> Find() {
    const ModelShape& s = config_.shape;
    ModelTensors tensors;
    // A tied model needs one of the two; some writers store both.
    const bool has_head = file_.Find(kHead) != nullptr;
    const bool only_head = config_.tied_head && has_head && file_.Find(kEmbedding) == nullptr;
    SKIPSTONE_ASSIGN_OR_RETURN(tensors.embedding,
                               Matrix(only_head ? kHead : kEmbedding, s.vocab, s.hidden));
    for (int layer = 0; layer < s.num_layers; ++layer) {
      SKIPSTONE_ASSIGN_OR_RETURN(LayerTensors found,
                                 Layer(absl::StrFormat("model.layers.%d.", layer)));
      tensors.layers.push_back(found);
    }
    SKIPSTONE_ASSIGN_OR_RETURN(tensors.final_norm, Norm("model.norm.weight"));
    tensors.head = tensors.embedding;
    if (has_head ? !only_head : !config_.tied_head) {
      SKIPSTONE_ASSIGN_OR_RETURN(tensors.head, Matrix(kHead, s.vocab, s.hidden));
    }
    if (config_.tied_head) {
      SKIPSTONE_RETURN_IF_ERROR(RefuseAnotherHead(tensors));
      tensors.head = tensors.embedding;
    }
    tensors.elements = elements_;
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
      return Fail(name, absl::StrFormat("is missing; config.json says %d layers and %s head",
                                        config_.shape.num_layers,
                                        config_.tied_head ? "a tied" : "an untied"));
    }
    if (stored->shape != std::vector<int64_t>(shape)) {
      return Fail(name,
                  absl::StrFormat("has shape [%s], config.json says [%s]",
                                  absl::StrJoin(stored->shape, ", "), absl::StrJoin(shape, ", ")));
    }
    if (!stored->unserved_type.empty()) {
      return Fail(name,
                  absl::StrFormat("has dtype '%s', which is not served; F32, F16 and BF16 are",
                                  stored->unserved_type));
    }
    expected_.insert(name);
    return stored;
  }

  absl::StatusOr<Tensor> Matrix(const std::string& name, int64_t rows, int64_t cols) {
    SKIPSTONE_ASSIGN_OR_RETURN(const StoredTensor* stored, Stored(name, {rows, cols}));
    elements_[static_cast<int>(stored->type)] += rows * cols;
    return Tensor{stored->data, stored->type, rows, cols};
  }

  absl::StatusOr<Tensor> Norm(const std::string& name) {
    SKIPSTONE_ASSIGN_OR_RETURN(const StoredTensor* stored, Stored(name, {config_.shape.hidden}));
    return Tensor{stored->data, stored->type, 1, config_.shape.hidden};
  }

  // The embedding counts as the head: another one would be ignored in silence.
  static absl::Status RefuseAnotherHead(const ModelTensors& tensors) {
    const Tensor& a = tensors.embedding;
    const Tensor& b = tensors.head;
    if (a.data == b.data) return absl::OkStatus();
    bool equal = a.type == b.type && std::memcmp(a.data, b.data, a.bytes()) == 0;
    if (a.type != b.type) {
      equal = true;
      for (int64_t i = 0; equal && i < a.rows * a.cols; ++i) {
        equal = ElementAt(a.data, a.type, i) == ElementAt(b.data, b.type, i);
      }
    }
    if (equal) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrFormat(
        "tensor '%s' differs from '%s', but config.json says tie_word_embeddings: true", kHead,
        kEmbedding));
  }

  absl::Status RefuseUnknownNames() const {
    for (const auto& item : file_.tensors()) {
      if (expected_.count(item.first) > 0 || IsRotation(item.first)) continue;
      return Fail(item.first, absl::StrFormat("is no part of a Llama 2 model of %d layers",
                                              config_.shape.num_layers));
    }
    return absl::OkStatus();
  }

  // Older writers stored the angles of RoPE; they follow from the configuration.
  static bool IsRotation(const std::string& name) {
    for (const char* of : {"inv_freq", "original_inv_freq", "cos_cached", "sin_cached"}) {
      if (absl::EndsWith(name, absl::StrFormat("rotary_emb.%s", of))) return true;
    }
    return false;
  }

  absl::Status Fail(const std::string& tensor, const std::string& why) const {
    std::string defaults;
    if (!config_.defaulted.empty()) {
      defaults = absl::StrFormat(" (config.json lacks %s: the format's defaults)",
                                 absl::StrJoin(config_.defaulted, ", "));
    }
    return absl::InvalidArgumentError(absl::StrFormat("tensor '%s' %s%s", tensor, why, defaults));
  }

  const ModelConfig& config_;
  const Safetensors& file_;
  std::set<std::string> expected_;
  std::array<int64_t, 3> elements_ = {};
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

DType ModelTensors::matrix_type() const {
  const auto most = std::max_element(elements.begin(), elements.end());
  return *most == 0 ? embedding.type : static_cast<DType>(most - elements.begin());
}

std::optional<DType> ModelTensors::sixteen_bit_type() const {
  const int64_t f16 = elements[static_cast<int>(DType::kF16)];
  const int64_t bf16 = elements[static_cast<int>(DType::kBF16)];
  if (f16 == 0 && bf16 == 0) return std::nullopt;
  return f16 > bf16 ? DType::kF16 : DType::kBF16;
}

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
