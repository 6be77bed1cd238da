#include "server/guardrail_state.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

GuardrailFile Example() {
  GuardrailFile file;
  file.off.push_back({"e", 0xfedcba9876543210, "t", "kl max 0.2: \"0.3\"", 1'700'000'000'000});
  file.steps.push_back({"f", 7, 1'700'000'000'001});
  GuardrailFile::Sums& sums = file.sums.emplace_back();
  sums = {"e", 7, "t", "kl max 0.2", {}};
  sums.state.moments.n = 3;
  sums.state.moments.mean = {0.25, 1.5};
  sums.state.p_value = 0.125;
  return file;
}

TEST(GuardrailStateTest, WhatIsWrittenIsRead) {
  const std::string text = FormatGuardrailFile(Example());
  const GuardrailFile file = ParseGuardrailFile(text).value();
  EXPECT_EQ(FormatGuardrailFile(file), text);
  EXPECT_EQ(file.off.at(0).generation, 0xfedcba9876543210);
  EXPECT_EQ(file.off.at(0).why, "kl max 0.2: \"0.3\"");
  EXPECT_EQ(file.steps.at(0).generation, 7);
  EXPECT_EQ(file.sums.at(0).state.moments.mean[1], 1.5);
  EXPECT_EQ(file.sums.at(0).state.p_value, 0.125);
}

TEST(GuardrailStateTest, TornFilesAreNone) {
  const std::string text = FormatGuardrailFile(Example());
  const size_t end = text.rfind('}');
  for (size_t size = 0; size <= end; ++size) {
    EXPECT_FALSE(ParseGuardrailFile(text.substr(0, size)).ok()) << size;
  }
}

TEST(GuardrailStateTest, WhatTheFirstVersionsDidNotWriteMayBeMissing) {
  const GuardrailFile file = ParseGuardrailFile(R"({"format": 1, "off": []})").value();
  EXPECT_TRUE(file.off.empty() && file.steps.empty() && file.sums.empty());
  EXPECT_EQ(ParseGuardrailFile(R"({"format": 2, "off": []})").status().message(), "another format");
}

TEST(GuardrailStateTest, WrongTypesAreRefused) {
  for (const char* text :
       {"7", "[]", R"({"format": "1", "off": []})", R"({"format": 1})",
        R"({"format": 1, "off": [7]})", R"({"format": 1, "off": [], "steps": 3})",
        R"({"format": 1, "off": [], "steps": [{"experiment": "e",
                               "generation": "xyz", "since_unix_ms": 0}]})"}) {
    EXPECT_FALSE(ParseGuardrailFile(text).ok()) << text;
  }
}

}  // namespace
}  // namespace skipstone::server
