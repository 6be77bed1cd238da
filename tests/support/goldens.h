// The golden files: outputs of an independent NumPy implementation (tests/golden/README.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/skip/skip_set.h"
#include "tests/support/test_data.h"

namespace skipstone {

// "model" becomes what a program takes as its model.
inline nlohmann::json ReadGoldens(const std::string& path) {
  nlohmann::json goldens = nlohmann::json::parse(ReadTestFile(SourcePath(path)));
  const std::string model = goldens["model"];
  if (!model.starts_with("synthetic:")) goldens["model"] = SourcePath(model);
  EXPECT_EQ(goldens["sink_tokens"], kSinkTokens) << path << " is of another sink; make it again";
  EXPECT_FALSE(goldens["cases"].empty());
  return goldens;
}

inline constexpr const char* kGoldenFiles[] = {
    "tests/golden/demo.json", "tests/golden/synthetic_gqa.json", "tests/golden/synthetic_mha.json"};
// Sets are SeededSet's.
inline constexpr const char* kCompensatedGoldens = "tests/golden/compensated.json";

}  // namespace skipstone
