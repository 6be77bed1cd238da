#include "base/flag_set.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace skipstone {

FlagValue ValueOf(bool* target) {
  FlagValue value = Checked(target, "true or false", [](bool) { return true; });
  value.read = [target, read = value.read](const std::string& text) {
    const std::string word = absl::AsciiStrToLower(text);
    if (word != "on" && word != "off") return read(text);
    *target = word == "on";
    return true;
  };
  return value;
}

FlagValue OneOf(std::string* target, std::vector<std::string> choices) {
  const std::string wanted = "one of " + absl::StrJoin(choices, ", ");
  return Checked(target, wanted, [choices = std::move(choices)](const std::string& text) {
    return std::find(choices.begin(), choices.end(), text) != choices.end();
  });
}

FlagValue ShareOf(double* target) {
  FlagValue value = InRange(target, 0);
  value.wanted = "a share, such as 0.5; above 1: never";
  return value;
}

void FlagSet::Add(std::string name, FlagValue value, std::string help) {
  std::string text = value.write();
  // One that could not be given, such as 0 for "by the machine", is told by `help`.
  if (!text.empty() && !value.read(text)) text.clear();
  flags_.push_back({std::move(name), std::move(value), std::move(help), std::move(text)});
}

void FlagSet::AddList(std::string name, std::vector<std::string>* target, std::string help) {
  const auto read = [target](const std::string& text) {
    target->push_back(text);
    return true;
  };
  Add(std::move(name), {.read = read, .write = [] { return ""; }}, std::move(help));
}

const FlagSet::Flag* FlagSet::Find(const std::string& name) const {
  const auto it = std::find_if(flags_.begin(), flags_.end(),
                               [&](const Flag& flag) { return flag.name == name; });
  return it == flags_.end() ? nullptr : &*it;
}

absl::Status FlagSet::Set(const std::string& name, const std::string& text) const {
  const Flag* flag = Find(name);
  if (flag == nullptr) return absl::NotFoundError(absl::StrFormat("unknown flag --%s", name));
  if (flag->value.read(text)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: '%s' is not %s", name, text, flag->value.wanted));
}

absl::Status FlagSet::ParseOne(std::span<const std::string> arguments, size_t& i) const {
  const std::string& argument = arguments[i];
  const size_t equals = argument.find('=');
  const std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
  const Flag* flag = Find(name);
  const bool negated = flag == nullptr && absl::StartsWith(name, "no") &&
                       (flag = Find(name.substr(2))) != nullptr && flag->value.is_bool;
  if (flag == nullptr || (!negated && flag->name != name)) {
    return absl::InvalidArgumentError(absl::StrFormat("unknown flag --%s", name));
  }
  std::string value = negated ? "false" : "true";
  if (equals != std::string::npos) {
    if (negated) return absl::InvalidArgumentError(absl::StrFormat("--%s takes no value", name));
    value = argument.substr(equals + 1);
  } else if (!flag->value.is_bool) {
    if (++i == arguments.size()) {
      return absl::InvalidArgumentError(absl::StrFormat("--%s needs a value", name));
    }
    value = arguments[i];
  }
  const absl::Status status = Set(flag->name, value);
  return status.ok() ? status : absl::InvalidArgumentError("--" + std::string(status.message()));
}

absl::StatusOr<std::vector<std::string>> FlagSet::Parse(
    std::span<const std::string> arguments) const {
  std::vector<std::string> positional;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--") {
      positional.insert(positional.end(), arguments.begin() + i + 1, arguments.end());
      break;
    }
    if (!absl::StartsWith(arguments[i], "--")) {
      positional.push_back(arguments[i]);
    } else if (absl::Status status = ParseOne(arguments, i); !status.ok()) {
      return status;
    }
  }
  return positional;
}

std::string FlagSet::Help() const {
  std::string text;
  for (const Flag& flag : flags_) {
    const std::string& wanted = flag.value.wanted;
    absl::StrAppendFormat(&text, "  --%s%s%s\n      %s", flag.name, wanted.empty() ? "" : ": ",
                          wanted, flag.help);
    if (!flag.default_text.empty()) {
      absl::StrAppendFormat(&text, " (default: %s)", flag.default_text);
    } else if (!absl::StrContains(flag.help, "default")) {
      text += " (default: none)";
    }
    text += '\n';
  }
  return text;
}

std::optional<int> ParseProgramFlags(const FlagSet& flags, std::span<const char* const> argv,
                                     const std::string& usage) {
  bool help = false;
  FlagSet all = flags;
  all.Add("help", &help, "print this");
  std::vector<std::string> arguments(argv.begin() + 1, argv.end());
  std::replace(arguments.begin(), arguments.end(), std::string("-h"), std::string("--help"));
  const auto positional = all.Parse(arguments);
  absl::Status status = positional.status();
  if (help) {
    std::printf("%s\n%s", usage.c_str(), all.Help().c_str());
    return 0;
  }
  if (status.ok() && !positional->empty()) {
    status = absl::InvalidArgumentError("unexpected argument '" + positional->front() + "'");
  }
  if (status.ok()) return std::nullopt;
  const std::string program = argv.front();
  std::fprintf(stderr, "%s: %s\n", program.substr(program.rfind('/') + 1).c_str(),
               std::string(status.message()).c_str());
  return 2;
}

}  // namespace skipstone
