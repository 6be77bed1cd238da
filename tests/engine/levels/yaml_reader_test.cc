// The files that it reads have tests of their own: levels_file_test, server_config_test.
#include "engine/levels/yaml_reader.h"

#include <string>

#include "base/flag_set.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

std::string ErrorOf(const std::string& text, int* number) {
  FlagSet keys;
  keys.Add("number", InRange(number, 0, 9), "");
  const absl::Status status =
      ReadYaml(text, "x.yaml", [&](const YamlReader& reader, const YAML::Node& root) {
        const absl::Status read = reader.ReadKeys(root, "", "", keys);
        return read.ok() ? reader.RequireKeys(root, "file", {"number"}) : read;
      });
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status));
  return std::string(status.message());
}

TEST(YamlReaderTest, ErrorsNameFileAndLine) {
  int number = 0;
  EXPECT_EQ(ErrorOf("number: 7", &number), "");
  EXPECT_EQ(number, 7);
  EXPECT_EQ(ErrorOf("\nnumber: 10", &number),
            "x.yaml:2: number: '10' is not a whole number from 0 to 9");
  EXPECT_EQ(ErrorOf("\nnumber: [1]", &number), "x.yaml:2: number: one value is wanted");
  EXPECT_EQ(ErrorOf("numbers: 1", &number), "x.yaml:1: unknown key 'numbers'");
  EXPECT_EQ(ErrorOf("number: 1\nnumber: 1", &number), "x.yaml:2: key 'number' appears twice");
  EXPECT_EQ(ErrorOf("{}", &number), "x.yaml:1: file: key 'number' is missing");
  EXPECT_EQ(ErrorOf("[a]: 1", &number), "x.yaml:1: a key must be a plain word");
  EXPECT_EQ(ErrorOf("", &number), "x.yaml:1: file: a mapping of keys to values is wanted");
  EXPECT_EQ(ErrorOf("number: 1\n---\nnumber: 2", &number),
            "x.yaml:3: a second document: the file is to be one");
}

// Found by levels_fuzz: the library takes these for documents without end.
TEST(YamlReaderTest, ATextOfWhichADocumentTakesNothingIsRefused) {
  int number = 0;
  for (const char* text : {",}", ",", "]", "number: 1\n---\n,}"}) {
    EXPECT_THAT(ErrorOf(text, &number), testing::StartsWith("x.yaml:")) << text;
  }
}

TEST(YamlReaderTest, TheLibrarysExceptionsEndHere) {
  int number = 0;
  for (const char* text : {"number: 'a", "a: b: c", "\tnumber: 1", "&a [*b]", "number: *none"}) {
    EXPECT_THAT(ErrorOf(text, &number), testing::StartsWith("x.yaml:")) << text;
  }
}

}  // namespace
}  // namespace skipstone
