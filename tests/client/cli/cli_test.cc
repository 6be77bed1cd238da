#include "client/cli/cli.h"

#include <future>
#include <map>

#include "client/cli/command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/run_skipstone.h"
#include "tests/client/scripted_server.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// A command line that is right but for the server.
const std::map<std::string, std::vector<std::string>> kCommands = {
    {"generate", {"In the beginning"}},
    {"score", {"In the beginning"}},
    {"tokenize", {"In the beginning"}},
    {"detokenize", {"--ids=1,2"}},
    {"info", {}},
    {"bench", {"--requests", "1"}},
    {"sweep", {"--text", SourceDir() + "/models/demo/valid.txt"}},
};

std::vector<std::string> CommandLine(const std::string& command,
                                     const std::vector<std::string>& more) {
  std::vector<std::string> line = {command};
  line.insert(line.end(), kCommands.at(command).begin(), kCommands.at(command).end());
  line.insert(line.end(), more.begin(), more.end());
  return line;
}

TEST(CliTest, EveryCommandIsTestedHere) {
  const auto commands = AllCommands();
  EXPECT_EQ(commands.size(), kCommands.size());
  for (const auto& command : commands) EXPECT_TRUE(kCommands.contains(command->name()));
}

TEST(CliTest, HelpListsTheCommands) {
  const CliResult none = RunSkipstone({});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_EQ(none.out, "");
  for (const char* word : {"help", "--help", "-h"}) {
    const CliResult help = RunSkipstone({word});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_EQ(help.out, none.err);
    EXPECT_EQ(help.err, "");
    for (const auto& command : AllCommands()) {
      EXPECT_THAT(help.out, AllOf(HasSubstr(command->name()), HasSubstr(command->summary())));
    }
  }
}

TEST(CliTest, HelpOfACommandListsItsFlagsWithTheirDefaults) {
  for (const auto& command : AllCommands()) {
    const std::string name = command->name();
    FlagSet flags;
    command->connection.AddTo(flags);
    command->AddFlags(flags);
    EXPECT_GE(flags.flags().size(), 4u) << "server, timeout, metadata, json at least: " << name;
    const CliResult help = RunSkipstone({name, "--help"});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.out, StartsWith(command->summary()));
    EXPECT_THAT(help.out, HasSubstr("usage: skipstone " + name + " " + command->usage()));
    EXPECT_THAT(help.out, HasSubstr(flags.Help()));
    EXPECT_THAT(help.out, HasSubstr("  --help: "));
    EXPECT_EQ(RunSkipstone({name, "-h"}).out, help.out);
    EXPECT_EQ(RunSkipstone({"help", name}).out, help.out);
  }
}

TEST(CliTest, UnknownCommandIsNamed) {
  for (const auto& line : std::vector<std::vector<std::string>>{{"generat"}, {"help", "generat"}}) {
    const CliResult result = RunSkipstone(line);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, AllOf(HasSubstr("unknown command \"generat\""), HasSubstr("generate")));
  }
}

TEST(CliTest, WrongFlagsAreNamedWithoutAskingAServer) {
  for (const auto& [command, line] : kCommands) {
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"--bogus=1"}, "unknown flag --bogus"},
        {{"--json=maybe"}, "--json: 'maybe' is not"},
        {{"--timeout", "soon"}, "--timeout: 'soon' is not"},
        {{"--timeout=0s"}, "--timeout must be more than 0, not 0"},
        {{"--timeout=-1s"}, "--timeout must be more than 0, not -1s"},
        {{"--server="}, "--server must not be empty"},
        {{"--metadata", "key"}, "--metadata: \"key\" is not KEY=VALUE"},
        {{"--metadata", "=value"}, "--metadata: \"=value\" is not KEY=VALUE"},
        {{"--metadata", "a key=1"}, "--metadata: metadata key \"a key\""},
        {{"--metadata", "key=\xc3\xa9"}, "--metadata: metadata key: \"\\303\\251\""},
        {{"--metadata"}, "--metadata needs a value"},
    };
    for (const auto& [flags, message] : cases) {
      const CliResult result = RunSkipstone(CommandLine(command, flags));
      EXPECT_EQ(result.exit_code, 2) << command << " " << flags[0];
      EXPECT_THAT(result.err, StartsWith("skipstone " + command + ": " + message));
      EXPECT_THAT(result.err, HasSubstr("`skipstone " + command + " --help` shows the flags"));
      EXPECT_EQ(result.out, "");
    }
  }
}

TEST(CliTest, TooManyOrTooFewArgumentsAreWrongUsage) {
  for (const auto& [command, line] : kCommands) {
    EXPECT_EQ(RunSkipstone(CommandLine(command, {"another"})).exit_code, 2) << command;
  }
  for (const char* command : {"generate", "score", "tokenize", "detokenize"}) {
    EXPECT_EQ(RunSkipstone({command}).exit_code, 2) << command;
  }
}

TEST(CliTest, UnreachableServerIsAFailure) {
  const TempDir dir;
  for (const auto& [command, line] : kCommands) {
    const CliResult result = RunSkipstone(
        CommandLine(command, {"--timeout=300ms", "--server", "unix:" + dir.path() + "/none"}));
    EXPECT_EQ(result.exit_code, 1) << command;
    EXPECT_THAT(result.err, StartsWith("skipstone " + command + ": UNAVAILABLE: "));
    EXPECT_THAT(result.err, HasSubstr("/none"));
    EXPECT_EQ(result.out, "") << command;
  }
}

TEST(CliTest, AServerThatComesBackIsWaitedFor) {
  for (const char* command : {"generate", "info"}) {
    const TempDir dir;
    const std::string address = "unix:" + dir.path() + "/socket";
    auto result = std::async(std::launch::async, [&] {
      return RunSkipstone(CommandLine(command, {"--server", address}));
    });
    EXPECT_EQ(result.wait_for(std::chrono::seconds(1)), std::future_status::timeout) << command;
    ScriptedServer server(address);
    EXPECT_EQ(result.get().exit_code, 0) << command;
  }
}

TEST(CliTest, ServersErrorIsPrintedWithItsCode) {
  for (const auto& [command, line] : kCommands) {
    ScriptedServer server;
    server.FailNext(grpc::StatusCode::PERMISSION_DENIED);
    const CliResult result = RunSkipstone(CommandLine(command, {"--server", server.address()}));
    EXPECT_EQ(result.exit_code, 1) << command;
    EXPECT_EQ(result.err, "skipstone " + command + ": PERMISSION_DENIED: scripted\n");
    EXPECT_EQ(result.out, "") << command;
  }
}

TEST(CliTest, EveryCallCarriesTimeoutAndMetadata) {
  for (const auto& [command, line] : kCommands) {
    ScriptedServer server;
    server.FailNext(grpc::StatusCode::PERMISSION_DENIED);
    const auto before = std::chrono::system_clock::now();
    RunSkipstone(CommandLine(command, {"--server", server.address(), "--timeout=1h", "--metadata",
                                       "X-User-Id=a=b", "--metadata=x-tag="}));
    ASSERT_EQ(server.calls().size(), 1);
    const SeenCall call = server.calls()[0];
    ASSERT_EQ(call.metadata.count("x-user-id"), 1) << command;
    EXPECT_EQ(call.metadata.find("x-user-id")->second, "a=b");
    EXPECT_EQ(call.metadata.count("x-tag"), 1);
    EXPECT_LT(call.deadline, before + std::chrono::hours(2)) << command;
  }
}

}  // namespace
}  // namespace skipstone::client
