// What a FakeServer of the default options generates and scores: the fake's tokens as text.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/skip/skip_grammar.h"
#include "tests/server/fake_server.h"
#include "tests/support/fake_runner.h"

namespace skipstone::client {

inline SkipSet FakeSkip(const std::string& spec) {
  return ParseSkipSet(spec, server::FakeServerOptions().num_layers).value();
}

// Ids that follow `prompt`.
inline std::vector<int32_t> FakeOutput(std::vector<int32_t> prompt, const std::string& spec,
                                       int count) {
  std::vector<int32_t> output;
  for (int i = 0; i < count; ++i) {
    output.push_back(FakeToken(prompt, FakeSkip(spec), server::FakeServerOptions().vocab));
    prompt.push_back(output.back());
  }
  return output;
}

inline std::string FakeText(const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) absl::StrAppendFormat(&text, " %d", id);
  return text;
}

// Of every id given those before it in `ids`, but of the first.
inline double FakeLogprobSum(const std::vector<int32_t>& ids, const std::string& spec) {
  double sum = 0;
  for (size_t i = 1; i < ids.size(); ++i) {
    sum += FakeLogprob({ids.data(), i}, FakeSkip(spec), ids[i]);
  }
  return sum;
}

}  // namespace skipstone::client
