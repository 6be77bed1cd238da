// skipstone-sim as a program.
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"
#include "tools/sim/options.h"

namespace skipstone {
namespace {

using ::testing::HasSubstr;

struct Ran {
  int exit_code = -1;
  std::string output;  // with stderr
};

Ran RunSim(const std::string& flags) {
  const std::string command = BinDir() + "/skipstone-sim " + flags + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  Ran ran;
  std::array<char, 4096> buffer;
  while (const size_t size = fread(buffer.data(), 1, buffer.size(), pipe)) {
    ran.output.append(buffer.data(), size);
  }
  ran.exit_code = WEXITSTATUS(pclose(pipe));
  return ran;
}

std::string Profile() {
  return "--profile=" + SourcePath("tools/sim/profiles/h200.json") + " --kv_pages=100000 ";
}

TEST(SimProgramTest, PrintsJson) {
  const Ran ran =
      RunSim(Profile() + "--requests=50 --rate=20 --skip='none;attn:last=33%' " + "--ttft_ms=1000");
  ASSERT_EQ(ran.exit_code, 0) << ran.output;
  const auto json = nlohmann::json::parse(ran.output);
  EXPECT_EQ(json["all"]["requests"], 50);
  EXPECT_EQ(json["all"]["good"], 50);
  EXPECT_EQ(json["levels"].size(), 2u);
}

TEST(SimProgramTest, HelpListsEveryFlagWithItsDefault) {
  SimOptions options;
  FlagSet flags;
  options.AddTo(flags);
  const Ran ran = RunSim("--help");
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.output, HasSubstr(flags.Help()));
}

TEST(SimProgramTest, ReplaysATrace) {
  TempDir dir;
  const std::string trace = dir.path() + "/trace.csv";
  std::ofstream(trace) << "arrival,prompt,output\n0,100,5\n0.5,6000,7\n";
  const Ran ran = RunSim(Profile() + "--trace=" + trace);
  ASSERT_EQ(ran.exit_code, 0) << ran.output;
  const auto json = nlohmann::json::parse(ran.output);
  EXPECT_EQ(json["all"]["output_tokens"], 12);
  EXPECT_EQ(json["all"]["prompt_tokens"], 100 + 4096 - 7);
}

// Documents quote results; libstdc++'s distributions are part of them.
TEST(SimProgramTest, ASeedMeansTheSameRequestsForEver) {
  const Ran ran =
      RunSim(Profile() + "--requests=50 --rate=20 --seed=7 --skip='none;attn:last=33%' " +
             "--prompt=lognormal:500:1 --prefix_fraction=0.5 --prefixes=3");
  ASSERT_EQ(ran.exit_code, 0) << ran.output;
  const auto json = nlohmann::json::parse(ran.output);
  EXPECT_EQ(json["all"]["prompt_tokens"], 45628);
  EXPECT_EQ(json["all"]["output_tokens"], 3908);
  EXPECT_EQ(json["all"]["cached_prompt_tokens"], 6576);
  EXPECT_EQ(json["levels"]["none"]["requests"], 26);
}

TEST(SimProgramTest, ErrorsNameTheFlag) {
  EXPECT_THAT(RunSim(Profile() + "--replicas=0").output, HasSubstr("--replicas: '0' is not"));
  EXPECT_THAT(RunSim(Profile() + "--routing=best").output,
              HasSubstr("\"best\" is not round-robin"));
  EXPECT_THAT(RunSim(Profile() + "--prompt=0").output, HasSubstr("\"0\" is not N"));
  EXPECT_THAT(RunSim(Profile() + "--rate=0").output, HasSubstr("--rate must be"));
  EXPECT_EQ(RunSim(Profile() + "--rate=0").exit_code, 2);
  EXPECT_THAT(RunSim(Profile() + "--rate=1e-8").output, HasSubstr("--rate must be"));
  EXPECT_THAT(RunSim(Profile() + "--prefix_fraction=2").output, HasSubstr("--prefix_fraction"));
  EXPECT_THAT(RunSim(Profile() + "--model=synthetic:layers=2,hidden=64,heads=4,ffn=64,vocab=64," +
                     "context=1")
                  .output,
              HasSubstr("no room"));
  EXPECT_EQ(RunSim(Profile() + "stray").exit_code, 2);
  EXPECT_EQ(RunSim(Profile() + "--unknown=1").exit_code, 2);
  EXPECT_THAT(RunSim("--profile=" + SourcePath("tools/sim/profiles/h200.json")).output,
              HasSubstr("--kv_pages must be"));
  EXPECT_THAT(RunSim("--profile=/nonexistent --kv_pages=9").output, HasSubstr("--profile="));
  EXPECT_EQ(RunSim(Profile() + "--trace=/nonexistent").exit_code, 1);
}

}  // namespace
}  // namespace skipstone
