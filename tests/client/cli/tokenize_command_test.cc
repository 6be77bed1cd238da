#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/run_skipstone.h"
#include "tests/client/scripted_server.h"
#include "tests/server/fake_server.h"

namespace skipstone::client {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(TokenizeCommandTest, PrintsIdsAndPieces) {
  server::FakeServer server;
  const std::string address = server.server().grpc_address();
  const CliResult table = RunSkipstone({"tokenize", "--server", address, "17 5"});
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_EQ(table.out, "id  piece\n17  \u258117\n 5  \u25815\n");
  const json tokens =
      json::parse(RunSkipstone({"tokenize", "--server", address, "17 5", "--json"}).out);
  EXPECT_EQ(tokens["ids"], json({17, 5}));
  EXPECT_EQ(tokens["pieces"], json({"\u258117", "\u25815"}));
}

TEST(TokenizeCommandTest, SaysWhetherToBeginTheSequence) {
  ScriptedServer server;
  EXPECT_EQ(RunSkipstone({"tokenize", "--server", server.address(), "a"}).exit_code, 0);
  EXPECT_EQ(RunSkipstone({"tokenize", "--server", server.address(), "--nospecial", "a"}).exit_code,
            0);
  ASSERT_EQ(server.calls().size(), 2);
  EXPECT_THAT(server.calls()[0].request, HasSubstr("add_special_tokens: true"));
  EXPECT_THAT(server.calls()[1].request, HasSubstr("add_special_tokens: false"));
}

}  // namespace
}  // namespace skipstone::client
