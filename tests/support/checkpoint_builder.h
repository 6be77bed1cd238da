// Writes small safetensors files and Llama checkpoints for tests, right ones and broken ones.
//
//   TestCheckpoint checkpoint = TinyCheckpoint("BF16");
//   checkpoint.tensors.pop_back();
//   checkpoint.WriteSingle(dir);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "tests/support/temp_dir.h"

namespace skipstone {

struct TestTensor {
  std::string name;
  std::string dtype;  // as in the file: "F32", "F16", "BF16", or another to be refused
  std::vector<int64_t> shape;
  std::string data;
};

// With data bytes that are a function of the name, so that mixed-up tensors differ.
TestTensor MakeTestTensor(const std::string& name, const std::string& dtype,
                          const std::vector<int64_t>& shape);

// Writes element `index` of a BF16 tensor. `value` is cut to its upper 16 bits.
void SetBf16(TestTensor& tensor, int64_t index, float value);
// A BF16 tensor in F32 or F16; exact in F32.
TestTensor ConvertedTo(const std::string& dtype, const TestTensor& tensor);

// A file of these bytes: the header's length, the header, the data.
std::string SafetensorsBytes(const std::string& header, const std::string& data);
// A right file of these tensors, header padded to a multiple of 8 as the format's writers do.
std::string SafetensorsBytes(const std::vector<TestTensor>& tensors);

struct TestCheckpoint {
  ModelShape shape;
  bool tied_head = false;
  std::vector<TestTensor> tensors;

  std::string ConfigJson() const;
  TestTensor& Find(const std::string& name);
  void Remove(const std::string& name);

  // config.json and model.safetensors.
  void WriteSingle(const TempDir& dir) const;
  // config.json, `shards` files and model.safetensors.index.json; tensors are dealt out in turn.
  void WriteSharded(const TempDir& dir, int shards) const;
};

// The bundled model, whole.
TestCheckpoint DemoCheckpoint();

// Two layers, hidden 16, 2 heads over 1 KV head of 8, ffn 24, vocabulary 11.
TestCheckpoint TinyCheckpoint(const std::string& dtype = "F32", bool tied_head = false);

}  // namespace skipstone
