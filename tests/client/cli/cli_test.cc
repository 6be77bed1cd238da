#include "client/cli/cli.h"

#include <future>
#include <map>

#include "absl/strings/str_split.h"
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
using testing::Not;
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

// Those that make no call.
const std::map<std::string, std::vector<std::string>> kOffline = {
    {"experiment plan", {"--mean=1", "--variance=1", "--units_per_day=1"}},
    {"experiment report", {"log.jsonl"}},
    {"experiment watch", {"log.jsonl"}},
};

std::vector<std::string> WordsOf(const std::string& command) {
  return absl::StrSplit(command, ' ');
}

std::vector<std::string> CommandLine(const std::string& command,
                                     const std::vector<std::string>& more) {
  std::vector<std::string> line = WordsOf(command);
  const auto& given = kOffline.contains(command) ? kOffline : kCommands;
  line.insert(line.end(), given.at(command).begin(), given.at(command).end());
  line.insert(line.end(), more.begin(), more.end());
  return line;
}

TEST(CliTest, EveryCommandIsTestedHere) {
  const auto commands = AllCommands();
  EXPECT_EQ(commands.size(), kCommands.size() + kOffline.size());
  for (const auto& command : commands) {
    EXPECT_TRUE((command->needs_server() ? kCommands : kOffline).contains(command->name()));
  }
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
    if (command->needs_server()) {
      command->connection.AddTo(flags);
    } else {
      command->connection.AddJsonTo(flags);
    }
    command->AddFlags(flags);
    EXPECT_GE(flags.flags().size(), command->needs_server() ? 4u : 1u)
        << "server, timeout, metadata, json at least: " << name;
    const auto with = [&](std::vector<std::string> before, const std::vector<std::string>& behind) {
      for (const std::string& word : WordsOf(name)) before.push_back(word);
      before.insert(before.end(), behind.begin(), behind.end());
      return RunSkipstone(before);
    };
    const CliResult help = with({}, {"--help"});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.out, StartsWith(command->summary()));
    EXPECT_THAT(help.out, HasSubstr("usage: skipstone " + name + " " + command->usage()));
    EXPECT_THAT(help.out, HasSubstr(flags.Help()));
    EXPECT_THAT(help.out, HasSubstr("  --help: "));
    EXPECT_EQ(with({}, {"-h"}).out, help.out);
    EXPECT_EQ(with({"help"}, {}).out, help.out);
  }
}

TEST(CliTest, CommandsOfTwoWordsAreListedByTheFirst) {
  for (const auto& line :
       std::vector<std::vector<std::string>>{{"help", "experiment"}, {"experiment", "--help"}}) {
    const CliResult help = RunSkipstone(line);
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.out, AllOf(HasSubstr("experiment plan"), HasSubstr("experiment watch"),
                                Not(HasSubstr("generate"))));
  }
  const CliResult alone = RunSkipstone({"experiment"});
  EXPECT_EQ(alone.exit_code, 2);
  EXPECT_THAT(alone.err,
              AllOf(HasSubstr("unknown command \"experiment\""), HasSubstr("experiment report")));
  const CliResult other = RunSkipstone({"experiment", "repor", "log.jsonl"});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, HasSubstr("unknown command \"experiment repor\""));
}

TEST(CliTest, CommandsThatMakeNoCallHaveNoFlagsOfCalls) {
  for (const auto& [command, line] : kOffline) {
    for (const char* flag : {"--server=localhost:1", "--timeout=1s", "--metadata=a=b", "--bogus"}) {
      const CliResult result = RunSkipstone(CommandLine(command, {flag}));
      EXPECT_EQ(result.exit_code, 2) << command;
      EXPECT_THAT(result.err, StartsWith("skipstone " + command + ": unknown flag --"));
    }
    EXPECT_EQ(RunSkipstone(CommandLine(command, {"--json=maybe"})).exit_code, 2);
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
