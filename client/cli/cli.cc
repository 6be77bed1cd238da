#include "client/cli/cli.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"

namespace skipstone::client {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

// Of all commands, or of those whose names begin with `group`; empty without any.
std::string ListOf(std::string_view group) {
  std::string text;
  for (const auto& command : AllCommands()) {
    if (!command->name().starts_with(group)) continue;
    absl::StrAppendFormat(&text, "  %-18s %s\n", command->name(), command->summary());
  }
  return text;
}

std::string Overview(std::string_view group = "") {
  return "usage: skipstone COMMAND --server HOST:PORT [flags]\n\n" + ListOf(group) +
         "\n`skipstone COMMAND --help` shows the flags of a command.\n";
}

// Null if there is none. `words` of the name are the first arguments.
std::unique_ptr<Command> FindCommand(std::span<const std::string> arguments, size_t* words) {
  for (auto& command : AllCommands()) {
    const std::vector<std::string> name = absl::StrSplit(command->name(), ' ');
    *words = name.size();
    if (arguments.size() < *words) continue;
    if (std::ranges::equal(name, arguments.first(*words))) return std::move(command);
  }
  return nullptr;
}

bool IsHelp(const std::string& argument) {
  return argument == "help" || argument == "--help" || argument == "-h";
}

// `arguments` name no command, but may be the first word of some.
int ReportNoCommand(std::span<const std::string> arguments, bool is_help, Io& io) {
  const std::string group = arguments[0] + " ";
  const bool is_group = !ListOf(group).empty();
  const bool names_one = is_group && arguments.size() > 1 && !IsHelp(arguments[1]);
  if (is_group && !names_one && (is_help || arguments.size() > 1)) {
    io.out << Overview(group);
    return 0;
  }
  io.err << absl::StrFormat("skipstone: unknown command \"%s\"\n\n%s",
                            names_one ? group + arguments[1] : arguments[0],
                            Overview(is_group ? group : ""));
  return kWrongUsage;
}

int ReportWrongUsage(const Command& command, const absl::Status& status, Io& io) {
  io.err << absl::StrFormat("skipstone %s: %s\n`skipstone %s --help` shows the flags.\n",
                            command.name(), std::string(status.message()), command.name());
  return kWrongUsage;
}

int RunCommand(Command& command, std::span<const std::string> arguments, Io& io) {
  FlagSet flags;
  bool help = false;
  if (command.needs_server()) {
    command.connection.AddTo(flags);
  } else {
    command.connection.AddJsonTo(flags);
  }
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
        MakeInfoCommand, MakeBenchCommand, MakeSweepCommand, MakeExperimentPlanCommand,
        MakeExperimentReportCommand, MakeExperimentWatchCommand}) {
    commands.push_back(make());
  }
  return commands;
}

int RunCli(std::span<const std::string> arguments, Io& io) {
  if (arguments.empty()) {
    io.err << Overview();
    return kWrongUsage;
  }
  const bool is_help = IsHelp(arguments.front());
  if (is_help) arguments = arguments.subspan(1);
  if (arguments.empty()) {
    io.out << Overview();
    return 0;
  }
  size_t words = 0;
  const std::unique_ptr<Command> command = FindCommand(arguments, &words);
  if (command == nullptr) return ReportNoCommand(arguments, is_help, io);
  std::vector<std::string> rest(arguments.begin() + words, arguments.end());
  if (is_help || (!rest.empty() && rest.front() == "-h")) rest = {"--help"};
  return RunCommand(*command, rest, io);
}

}  // namespace skipstone::client
