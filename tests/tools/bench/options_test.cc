#include "tools/bench/options.h"

#include <cstdio>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/paths.h"

namespace skipstone {
namespace {

using testing::HasSubstr;

struct Parsed {
  BenchOptions options;
  absl::Status status;
};

Parsed Parse(const std::vector<std::string>& args) {
  Parsed parsed;
  FlagSet flags;
  parsed.options.AddTo(flags);
  parsed.status = flags.Parse(args).status();
  if (parsed.status.ok()) parsed.status = parsed.options.Check();
  return parsed;
}

void ExpectError(const std::vector<std::string>& args, const char* words) {
  const absl::Status status = Parse(args).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << words;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

TEST(BenchOptionsTest, TakesBothWaysOfWriting) {
  const auto [options, status] =
      Parse({"--batch=4", "--skip", "none;attn:last=2", "--json", "--mixed=true", "--stages",
             "--model=synthetic:x", "--threads", "0"});
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(options.batch, 4);
  EXPECT_EQ(options.skip, "none;attn:last=2");
  EXPECT_EQ(options.model, "synthetic:x");
  EXPECT_TRUE(options.json);
  EXPECT_TRUE(options.mixed);
  EXPECT_TRUE(options.stages);
}

TEST(BenchOptionsTest, DefaultsMeasureBothPhasesOfOneSequence) {
  const auto [options, status] = Parse({});
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(options.batch, 1);
  EXPECT_GT(options.steps, 0);
  EXPECT_GT(options.prompt, 0);
  EXPECT_FALSE(options.mixed);
  EXPECT_FALSE(options.stages);
}

TEST(BenchOptionsTest, ErrorsNameOptionAndValue) {
  ExpectError({"--batsh=1"}, "unknown flag --batsh");
  ExpectError({"--batch=0"}, "--batch: '0' is not a whole number from 1");
  ExpectError({"--batch=1x"}, "--batch: '1x'");
  ExpectError({"--json=perhaps"}, "--json: 'perhaps' is not true or false");
  ExpectError({"--skip"}, "--skip needs a value");
}

TEST(BenchOptionsTest, SomethingMustBeMeasured) {
  ExpectError({"--prompt=0", "--steps=0"}, "nothing to measure");
}

TEST(BenchOptionsTest, MixedNeedsSetsStepsAndSequences) {
  ExpectError({"--mixed", "--batch=4"}, "--skip is 'none'");
  ExpectError({"--mixed", "--batch=2", "--skip=none;attn:1;attn:2"}, "3 skip sets, --batch is 2");
  ExpectError({"--mixed", "--batch=2", "--skip=none;attn:1", "--steps=0"}, "--steps is 0");
  EXPECT_TRUE(Parse({"--mixed", "--batch=2", "--skip=none;attn:1"}).status.ok());
}

TEST(BenchOptionsTest, HelpListsEveryFlagWithItsDefault) {
  BenchOptions options;
  FlagSet flags;
  options.AddTo(flags);
  EXPECT_THAT(flags.Help(), HasSubstr("(default: 512)")) << "of --prompt";
  FILE* pipe = popen((BinDir() + "/skipstone-engine-bench --help").c_str(), "r");
  std::string out(1 << 14, '\0');
  out.resize(fread(out.data(), 1, out.size(), pipe));
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_THAT(out, HasSubstr(flags.Help()));
}

}  // namespace
}  // namespace skipstone
