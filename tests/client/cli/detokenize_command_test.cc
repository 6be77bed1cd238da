#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/run_skipstone.h"
#include "tests/client/scripted_server.h"
#include "tests/server/fake_server.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

TEST(DetokenizeCommandTest, PrintsTheText) {
  server::FakeServer server;
  const std::string address = server.server().grpc_address();
  const CliResult text = RunSkipstone({"detokenize", "--server", address, "--ids", "17,5"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.out, "17 5\n");
  const TempDir dir;
  const CliResult as_json = RunSkipstone(
      {"detokenize", "--server", address, "--json", "--ids=@" + dir.Write("ids", "17\n5\n")});
  EXPECT_EQ(json::parse(as_json.out), json({{"text", "17 5"}}));
}

TEST(DetokenizeCommandTest, IdsGoAsTheyAre) {
  ScriptedServer server;
  RunSkipstone({"detokenize", "--server", server.address(), "--ids", "[1, 4294967295]"});
  ASSERT_EQ(server.calls().size(), 1);
  EXPECT_EQ(server.calls()[0].request, "ids: 1 ids: 4294967295");
}

TEST(DetokenizeCommandTest, WrongUsage) {
  EXPECT_EQ(RunSkipstone({"detokenize"}).exit_code, 2);
  EXPECT_EQ(RunSkipstone({"detokenize", "--ids=1", "2"}).exit_code, 2);
  const CliResult bad = RunSkipstone({"detokenize", "--ids=1,x"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.err, HasSubstr("--ids: id 2 is \"x\""));
  const CliResult absent = RunSkipstone({"detokenize", "--ids=@/none"});
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_THAT(absent.err, AllOf(HasSubstr("--ids"), HasSubstr("/none")));
}

}  // namespace
}  // namespace skipstone::client
