#include "tools/calibrate/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <string>

#include "tests/support/paths.h"

namespace skipstone::calibrate {
namespace {

TEST(CalibrateOptionsTest, SizesAreCountsOrPercentages) {
  CalibrateOptions options;
  options.levels = "25%;3;50%;8";
  const CalibratePlan plan = PlanOf(options, 30, 576).value();
  EXPECT_THAT(plan.sizes, testing::ElementsAre(3, 8, 15));  // 25 % of 30 is 8, too
  EXPECT_EQ(plan.search.steps, 15);
  EXPECT_EQ(plan.search.ranker, quality::Ranker::kGreedyKl);
  EXPECT_THAT(plan.compared,
              testing::ElementsAre(quality::Ranker::kLast, quality::Ranker::kGateNorm));
  options.sublayers = "all";
  EXPECT_EQ(PlanOf(options, 30, 576)->sizes.back(), 30);
}

TEST(CalibrateOptionsTest, ErrorsNameTheFlag) {
  const auto error = [](auto set) {
    CalibrateOptions options;
    set(options);
    const auto plan = PlanOf(options, 8, 64);
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(plan.status().message());
  };
  using O = CalibrateOptions;
  EXPECT_THAT(error([](O& o) { o.ranker = "best"; }), testing::StartsWith("--ranker: 'best'"));
  EXPECT_THAT(error([](O& o) { o.compare = "last;worst"; }), testing::HasSubstr("--compare"));
  for (const char* levels : {"", "0", "0%", "101%", "9", "-1", "x", "2.5", "1;nan", "inf%"}) {
    EXPECT_THAT(error([&](O& o) { o.levels = levels; }), testing::HasSubstr("--levels")) << levels;
  }
  EXPECT_THAT(error([](O& o) { o.compensation = "rank=65"; }),
              testing::HasSubstr("--compensation"));
  EXPECT_THAT(error([](O& o) { o.sets = "attn:1;attn:8"; }), testing::HasSubstr("--sets"));
  EXPECT_THAT(error([](O& o) { o.select_with = "full"; }), testing::HasSubstr("--select_with"));
  for (const char* widths : {"15", "20", "8", "x", "64;65"}) {
    EXPECT_THAT(error([&](O& o) { o.widths = widths; }), testing::HasSubstr("--widths")) << widths;
  }
}

TEST(CalibrateOptionsTest, TheReadmesFlagsAreKnown) {
  CalibrateOptions options;
  FlagSet flags;
  options.AddTo(flags);
  std::ifstream in(SourceDir() + "/README.md");
  std::string readme(std::istreambuf_iterator<char>(in), {});
  const size_t begin = readme.find("## Choose a level");
  ASSERT_NE(begin, std::string::npos);
  const std::string section = readme.substr(begin, readme.find("\n## ", begin) - begin);
  const std::regex flag("--([a-z_]+)");
  int found = 0;
  for (auto it = std::sregex_iterator(section.begin(), section.end(), flag);
       it != std::sregex_iterator(); ++it, ++found) {
    const std::string name = (*it)[1].str();
    // Those of the server and of the command line.
    const bool other =
        name == "levels" || name == "skip" || name == "max_tokens" || name == "choices";
    EXPECT_TRUE(flags.Find(name) != nullptr || other) << name;
  }
  EXPECT_GT(found, 10);
}

}  // namespace
}  // namespace skipstone::calibrate
