#include "tests/support/checkpoint_builder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/hash.h"
#include "engine/backend/random_fill.h"
#include "engine/backend/widen.h"
#include "engine/model/config.h"
#include "engine/model/safetensors.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

std::string Header(const std::vector<TestTensor>& tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  size_t begin = 0;
  for (const TestTensor& tensor : tensors) {
    const size_t end = begin + tensor.data.size();
    header +=
        absl::StrFormat(R"(,"%s":{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]})", tensor.name,
                        tensor.dtype, absl::StrJoin(tensor.shape, ","), begin, end);
    begin = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return header;
}

}  // namespace

TestTensor MakeTestTensor(const std::string& name, const std::string& dtype,
                          const std::vector<int64_t>& shape) {
  int64_t bytes = dtype == "F32" ? 4 : 2;
  for (const int64_t size : shape) bytes *= size;
  TestTensor tensor{name, dtype, shape, std::string(bytes, '\0')};
  for (int64_t i = 0; i < bytes; ++i) {
    tensor.data[i] = static_cast<char>(Mix64(Fnv1a64(name) + i));
  }
  return tensor;
}

std::string SafetensorsBytes(const std::string& header, const std::string& data) {
  std::string length(8, '\0');
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i));
  return length + header + data;
}

std::string SafetensorsBytes(const std::vector<TestTensor>& tensors) {
  std::string data;
  for (const TestTensor& tensor : tensors) data += tensor.data;
  return SafetensorsBytes(Header(tensors), data);
}

std::string TestCheckpoint::ConfigJson() const {
  return absl::StrFormat(
      R"({"model_type": "llama", "num_hidden_layers": %d, "hidden_size": %d,
"num_attention_heads": %d, "num_key_value_heads": %d, "intermediate_size": %d, "vocab_size": %d,
"max_position_embeddings": %d, "rms_norm_eps": 1e-05, "tie_word_embeddings": %s,
"bos_token_id": 1, "eos_token_id": 2})",
      shape.num_layers, shape.hidden, shape.heads, shape.kv_heads, shape.ffn, shape.vocab,
      shape.max_context, tied_head ? "true" : "false");
}

TestTensor& TestCheckpoint::Find(const std::string& name) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == name; });
  EXPECT_NE(found, tensors.end()) << name;
  return *found;
}

void TestCheckpoint::Remove(const std::string& name) {
  EXPECT_EQ(std::erase_if(tensors, [&](const auto& t) { return t.name == name; }), 1) << name;
}

void TestCheckpoint::WriteSingle(const TempDir& dir) const {
  dir.Write("config.json", ConfigJson());
  dir.Write("model.safetensors", SafetensorsBytes(tensors));
}

void TestCheckpoint::WriteSharded(const TempDir& dir, int shards) const {
  dir.Write("config.json", ConfigJson());
  std::string weight_map;
  for (int shard = 0; shard < shards; ++shard) {
    const std::string name = absl::StrFormat("model-%05d-of-%05d.safetensors", shard + 1, shards);
    std::vector<TestTensor> part;
    for (size_t i = shard; i < tensors.size(); i += shards) {
      part.push_back(tensors[i]);
      weight_map += absl::StrFormat("%s\"%s\": \"%s\"", weight_map.empty() ? "" : ",\n",
                                    tensors[i].name, name);
    }
    dir.Write(name, SafetensorsBytes(part));
  }
  dir.Write("model.safetensors.index.json",
            R"({"metadata": {"total_size": 1}, "weight_map": {)" + weight_map + "}}");
}

void SetBf16(TestTensor& tensor, int64_t index, float value) {
  ASSERT_EQ(tensor.dtype, "BF16");
  const auto bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
  std::memcpy(tensor.data.data() + 2 * index, &bits, sizeof(bits));
}

TestTensor ConvertedTo(const std::string& dtype, const TestTensor& tensor) {
  TestTensor converted{tensor.name, dtype, tensor.shape, ""};
  for (size_t i = 0; i < tensor.data.size() / 2; ++i) {
    const float value = ElementAt(tensor.data.data(), DType::kBF16, static_cast<int64_t>(i));
    const uint16_t half = std::abs(value) < 2 ? ToF16Bits(value) : 0;
    const bool f32 = dtype == "F32";
    converted.data.append(reinterpret_cast<const char*>(f32 ? static_cast<const void*>(&value)
                                                            : static_cast<const void*>(&half)),
                          f32 ? 4 : 2);
  }
  return converted;
}

TestCheckpoint DemoCheckpoint() {
  TestCheckpoint checkpoint;
  const auto config = ReadModelConfig(DemoModelDir());
  const auto file = Safetensors::OpenDirectory(DemoModelDir());
  EXPECT_TRUE(config.ok() && file.ok());
  checkpoint.shape = config->shape;
  for (const auto& [name, stored] : file->tensors()) {
    TestTensor tensor{name, "BF16", stored.shape, ""};
    EXPECT_EQ(stored.type, DType::kBF16);
    size_t bytes = SizeOf(stored.type);
    for (const int64_t size : stored.shape) bytes *= size;
    tensor.data.assign(static_cast<const char*>(stored.data), bytes);
    checkpoint.tensors.push_back(std::move(tensor));
  }
  return checkpoint;
}

TestCheckpoint TinyCheckpoint(const std::string& dtype, bool tied_head) {
  TestCheckpoint checkpoint;
  checkpoint.tied_head = tied_head;
  checkpoint.shape = {.num_layers = 2,
                      .hidden = 16,
                      .heads = 2,
                      .kv_heads = 1,
                      .head_dim = 8,
                      .ffn = 24,
                      .vocab = 11,
                      .max_context = 32};
  const ModelShape& s = checkpoint.shape;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    checkpoint.tensors.push_back(MakeTestTensor(name, dtype, shape));
  };
  add("model.embed_tokens.weight", {s.vocab, s.hidden});
  for (int layer = 0; layer < s.num_layers; ++layer) {
    const std::string prefix = absl::StrFormat("model.layers.%d.", layer);
    add(prefix + "input_layernorm.weight", {s.hidden});
    add(prefix + "self_attn.q_proj.weight", {s.q_size(), s.hidden});
    add(prefix + "self_attn.k_proj.weight", {s.kv_size(), s.hidden});
    add(prefix + "self_attn.v_proj.weight", {s.kv_size(), s.hidden});
    add(prefix + "self_attn.o_proj.weight", {s.hidden, s.q_size()});
    add(prefix + "post_attention_layernorm.weight", {s.hidden});
    add(prefix + "mlp.gate_proj.weight", {s.ffn, s.hidden});
    add(prefix + "mlp.up_proj.weight", {s.ffn, s.hidden});
    add(prefix + "mlp.down_proj.weight", {s.hidden, s.ffn});
  }
  add("model.norm.weight", {s.hidden});
  if (!tied_head) add("lm_head.weight", {s.vocab, s.hidden});
  return checkpoint;
}

}  // namespace skipstone
