// The vectors of tests/golden/sampler.json: what a sampler must draw, by float64.
#pragma once

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/step/sampling.h"
#include "tests/support/paths.h"

namespace skipstone {

struct SamplerVector {
  std::string text;  // of the case, for messages
  SamplingParams params;
  std::vector<int32_t> prompt;
  std::vector<int32_t> output;
  int output_index = 0;
  std::vector<float> logits;
  std::vector<std::pair<int, int32_t>> draws;  // {position of the input token, token}
  double log_sum = 0;                          // of the exponentials of the logits
  std::vector<int32_t> top;                    // likeliest first

  SlotStart StartOf(int slot) const {
    return {.slot = slot,
            .output_index = output_index,
            .sampling = &params,
            .prompt = prompt,
            .output = output};
  }
};

// logits_of of tests/golden/make_sampler_vectors.py.
inline std::vector<float> LogitsOf(int row, int step, int vocab) {
  std::vector<float> logits;
  for (int id = 0; id < vocab; ++id) {
    const int k = (id * 101 + 37 * row) % 307;
    logits.push_back(static_cast<float>(k * k / (256 * step) * step) / 32 - 4);
  }
  return logits;
}

inline SamplingParams SamplingParamsOf(const nlohmann::json& json) {
  const SamplingParams none;
  return {.temperature = json.value("temperature", none.temperature),
          .top_k = json.value("top_k", none.top_k),
          .top_p = json.value("top_p", none.top_p),
          .min_p = json.value("min_p", none.min_p),
          .repetition_penalty = json.value("repetition_penalty", none.repetition_penalty),
          .presence_penalty = json.value("presence_penalty", none.presence_penalty),
          .frequency_penalty = json.value("frequency_penalty", none.frequency_penalty),
          .seed = json.value("seed", none.seed),
          .logit_bias = json.value("logit_bias", none.logit_bias),
          .min_tokens = json.value("min_tokens", none.min_tokens),
          .suppressed_ids = json.value("suppressed_ids", none.suppressed_ids)};
}

inline std::vector<SamplerVector> ReadSamplerVectors() {
  std::ifstream in(SourceDir() + "/tests/golden/sampler.json");
  const nlohmann::json file = nlohmann::json::parse(in);
  const int vocab = file.at("vocab");
  std::vector<SamplerVector> vectors;
  for (const nlohmann::json& json : file.at("cases")) {
    vectors.push_back({.text = json.dump(),
                       .params = SamplingParamsOf(json),
                       .prompt = json.at("prompt"),
                       .output = json.at("output"),
                       .output_index = json.at("output_index"),
                       .logits = LogitsOf(json.at("row"), json.at("step"), vocab),
                       .draws = json.at("draws"),
                       .log_sum = json.at("log_sum"),
                       .top = json.at("top")});
  }
  SKIPSTONE_CHECK(vectors.size() >= 100);
  return vectors;
}

}  // namespace skipstone
