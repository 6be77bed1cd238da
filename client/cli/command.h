// What every subcommand of `skipstone` is: a name, flags, and a Run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/flag_set.h"
#include "client/call_options.h"
#include "client/cli/cli.h"
#include "client/cli/connection_flags.h"

namespace skipstone::client {

// One object per run of the program; one thread.
class Command {
 public:
  virtual ~Command() = default;
  virtual std::string name() const = 0;     // one word, or two: "experiment report"
  virtual std::string summary() const = 0;  // one line
  virtual std::string usage() const = 0;    // what follows the name, then examples
  // False: it makes no call, and has --json alone of the flags below.
  virtual bool needs_server() const { return true; }
  // Those of its own.
  virtual void AddFlags(FlagSet&) {}
  // Takes what is left of the command line without flags, by default nothing, and checks both. An
  // error says what is wrong with the command line. Asks no server and opens no file.
  virtual absl::Status Prepare(const std::vector<std::string>& arguments) {
    if (arguments.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("unexpected \"" + arguments[0] + "\"");
  }
  // Does what was prepared. On an error, what was printed before stays.
  virtual absl::Status Run(Io& io) = 0;

  // Every command's flags, and what they say of its calls.
  ConnectionFlags connection;
  CallOptions options;
};

// In the order in which `skipstone help` lists them.
std::vector<std::unique_ptr<Command>> AllCommands();

std::unique_ptr<Command> MakeGenerateCommand();
std::unique_ptr<Command> MakeScoreCommand();
std::unique_ptr<Command> MakeTokenizeCommand();
std::unique_ptr<Command> MakeDetokenizeCommand();
std::unique_ptr<Command> MakeInfoCommand();
std::unique_ptr<Command> MakeBenchCommand();
std::unique_ptr<Command> MakeSweepCommand();
std::unique_ptr<Command> MakeExperimentPlanCommand();
std::unique_ptr<Command> MakeExperimentReportCommand();
std::unique_ptr<Command> MakeExperimentWatchCommand();

}  // namespace skipstone::client
