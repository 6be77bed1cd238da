#include "tools/bench/options.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using testing::HasSubstr;

absl::StatusOr<BenchOptions> Parse(std::vector<const char*> args) {
  return ParseBenchOptions(args);
}

void ExpectError(std::vector<const char*> args, const char* words) {
  const auto options = Parse(std::move(args));
  ASSERT_FALSE(options.ok()) << words;
  EXPECT_EQ(options.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(options.status().message()), HasSubstr(words));
}

TEST(BenchOptionsTest, TakesBothWaysOfWriting) {
  const auto options = Parse({"--batch=4", "--skip", "none;attn:last=2", "--json", "--mixed=true",
                              "--stages", "--model=synthetic:x", "--threads", "0"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->batch, 4);
  EXPECT_EQ(options->skip, "none;attn:last=2");
  EXPECT_EQ(options->model, "synthetic:x");
  EXPECT_TRUE(options->json);
  EXPECT_TRUE(options->mixed);
  EXPECT_TRUE(options->stages);
}

TEST(BenchOptionsTest, DefaultsMeasureBothPhasesOfOneSequence) {
  const auto options = Parse({});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->batch, 1);
  EXPECT_GT(options->steps, 0);
  EXPECT_GT(options->prompt, 0);
  EXPECT_FALSE(options->mixed);
  EXPECT_FALSE(options->stages);
}

TEST(BenchOptionsTest, ErrorsNameOptionAndValue) {
  ExpectError({"--batsh=1"}, "unknown option '--batsh=1'");
  ExpectError({"batch=1"}, "unknown option 'batch=1'");
  ExpectError({"--batch=0"}, "--batch=0 is no integer from 1");
  ExpectError({"--batch=1x"}, "--batch=1x");
  ExpectError({"--json=yes"}, "--json=yes is neither true nor false");
  ExpectError({"--skip"}, "--skip lacks its value");
}

TEST(BenchOptionsTest, SomethingMustBeMeasured) {
  ExpectError({"--prompt=0", "--steps=0"}, "nothing to measure");
  EXPECT_TRUE(Parse({"--prompt=0", "--steps=0", "--help"}).ok());
}

TEST(BenchOptionsTest, MixedNeedsSetsStepsAndSequences) {
  ExpectError({"--mixed", "--batch=4"}, "--skip is 'none'");
  ExpectError({"--mixed", "--batch=2", "--skip=none;attn:1;attn:2"}, "3 skip sets, --batch is 2");
  ExpectError({"--mixed", "--batch=2", "--skip=none;attn:1", "--steps=0"}, "--steps is 0");
  EXPECT_TRUE(Parse({"--mixed", "--batch=2", "--skip=none;attn:1"}).ok());
}

TEST(BenchOptionsTest, UsageNamesEveryOption) {
  for (const char* name : {"--model", "--backend", "--batch", "--mixed", "--stages", "--help"}) {
    EXPECT_THAT(BenchUsage(), HasSubstr(name));
  }
  EXPECT_THAT(BenchUsage(), HasSubstr("(default 512, from 0)")) << "of --prompt";
  EXPECT_THAT(BenchUsage(), HasSubstr("(default none)")) << "of --tuning_cache";
  EXPECT_THAT(BenchUsage(), HasSubstr("(default false)")) << "of --json";
}

}  // namespace
}  // namespace skipstone
