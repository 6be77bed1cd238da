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
  SamplingParams params;
  params.logit_bias = json.value("logit_bias", params.logit_bias);
  params.min_tokens = json.value("min_tokens", params.min_tokens);
  params.suppressed_ids = json.value("suppressed_ids", params.suppressed_ids);
  ForEachRequestField([&](std::string_view path, auto member, const FieldLimits&, const char*) {
    if constexpr (requires { params.*member; }) {
      params.*member = json.value(path.substr(path.find('.') + 1), params.*member);
    }
  });
  return params;
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
