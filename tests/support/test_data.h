// Where test data lies: in the source tree (in a bundle, SKIPSTONE_TEST_ROOT), or beside it where a
// machine has more than the tree carries (published configurations and tokenizers). A test that
// wants the latter skips without.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/paths.h"

namespace skipstone {

inline std::string SourcePath(const std::string& path) {
  const char* root = std::getenv("SKIPSTONE_TEST_ROOT");
  return (root != nullptr ? std::string(root) : SourceDir()) + "/" + path;
}

// Empty where it is absent.
inline std::string SharedDataPath(const std::string& path) {
  const std::string full = SourcePath("../shared/data/" + path);
  return std::filesystem::exists(full) ? full : "";
}

inline std::string ReadTestFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace skipstone
