#include "client/cli/cli.h"

#include <memory>
#include <vector>

#include "absl/strings/str_format.h"
#include "client/cli/command.h"

namespace skipstone::client {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

std::string Overview() {
  std::string text = "usage: skipstone COMMAND --server HOST:PORT [flags]\n\n";
  for (const auto& command : AllCommands()) {
    absl::StrAppendFormat(&text, "  %-10s %s\n", command->name(), command->summary());
  }
  return text + "\n`skipstone COMMAND --help` shows the flags of a command.\n";
}

bool IsHelp(const std::string& argument) {
  return argument == "help" || argument == "--help" || argument == "-h";
}

int ReportWrongUsage(const Command& command, const absl::Status& status, Io& io) {
  io.err << absl::StrFormat("skipstone %s: %s\n`skipstone %s --help` shows the flags.\n",
                            command.name(), std::string(status.message()), command.name());
  return kWrongUsage;
}

int RunCommand(Command& command, std::span<const std::string> arguments, Io& io) {
  FlagSet flags;
  bool help = false;
  command.connection.AddTo(flags);
  command.AddFlags(flags);
  flags.Add("help", &help, "show this");
  const auto positional = flags.Parse(arguments);
  if (!positional.ok()) return ReportWrongUsage(command, positional.status(), io);
  if (help) {
    io.out << absl::StrFormat("%s\n\nusage: skipstone %s %s\nflags:\n%s", command.summary(),
                              command.name(), command.usage(), flags.Help());
    return 0;
  }
  absl::Status status = command.Prepare(*positional);
  if (status.ok()) status = command.connection.ReadInto(command.options);
  if (!status.ok()) return ReportWrongUsage(command, status, io);
  status = command.Run(io);
  io.out.flush();
  if (status.ok()) return 0;
  io.err << absl::StrFormat("skipstone %s: %s: %s\n", command.name(),
                            absl::StatusCodeToString(status.code()), std::string(status.message()));
  return kFailed;
}

}  // namespace

std::vector<std::unique_ptr<Command>> AllCommands() {
  std::vector<std::unique_ptr<Command>> commands;
  for (const auto make :
       {MakeGenerateCommand, MakeScoreCommand, MakeTokenizeCommand, MakeDetokenizeCommand,
        MakeInfoCommand, MakeBenchCommand, MakeSweepCommand}) {
    commands.push_back(make());
  }
  return commands;
}

int RunCli(std::span<const std::string> arguments, Io& io) {
  if (arguments.empty()) {
    io.err << Overview();
    return kWrongUsage;
  }
  std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  std::string name = arguments.front();
  if (IsHelp(name)) {
    if (rest.empty()) {
      io.out << Overview();
      return 0;
    }
    name = rest.front();
    rest = {"--help"};
  } else if (!rest.empty() && rest.front() == "-h") {
    rest = {"--help"};
  }
  for (const auto& command : AllCommands()) {
    if (command->name() == name) return RunCommand(*command, rest, io);
  }
  io.err << absl::StrFormat("skipstone: unknown command \"%s\"\n\n%s", name, Overview());
  return kWrongUsage;
}

}  // namespace skipstone::client
