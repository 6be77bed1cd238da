#include "client/cli/flag_set.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

namespace skipstone::client {

void FlagSet::AddList(std::string name, std::vector<std::string>* target, std::string help) {
  flags_.push_back({std::move(name), std::move(help), "", false, [target](const std::string& text) {
                      target->push_back(text);
                      return absl::OkStatus();
                    }});
}

const FlagSet::Flag* FlagSet::Find(const std::string& name) const {
  const auto it = std::find_if(flags_.begin(), flags_.end(),
                               [&](const Flag& flag) { return flag.name == name; });
  return it == flags_.end() ? nullptr : &*it;
}

absl::Status FlagSet::ParseOne(std::span<const std::string> arguments, size_t& i) const {
  const std::string& argument = arguments[i];
  const size_t equals = argument.find('=');
  const std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
  const Flag* flag = Find(name);
  const bool negated = flag == nullptr && absl::StartsWith(name, "no") &&
                       (flag = Find(name.substr(2))) != nullptr && flag->is_bool;
  if (flag == nullptr || (!negated && flag->name != name)) {
    return absl::InvalidArgumentError(absl::StrFormat("unknown flag --%s", name));
  }
  std::string value = negated ? "false" : "true";
  if (equals != std::string::npos) {
    if (negated) return absl::InvalidArgumentError(absl::StrFormat("--%s takes no value", name));
    value = argument.substr(equals + 1);
  } else if (!flag->is_bool) {
    if (++i == arguments.size()) {
      return absl::InvalidArgumentError(absl::StrFormat("--%s needs a value", name));
    }
    value = arguments[i];
  }
  const absl::Status status = flag->set(value);
  if (status.ok()) return status;
  const std::string reason(status.message());
  return absl::InvalidArgumentError(absl::StrFormat("--%s cannot be \"%s\"%s%s", name, value,
                                                    reason.empty() ? "" : ": ", reason));
}

absl::StatusOr<std::vector<std::string>> FlagSet::Parse(std::span<const std::string> arguments) {
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
    absl::StrAppendFormat(&text, "  --%-16s %s", flag.name, flag.help);
    if (!flag.default_text.empty() && !flag.is_bool) {
      absl::StrAppendFormat(&text, " (default %s)", flag.default_text);
    }
    text += '\n';
  }
  return text;
}

}  // namespace skipstone::client
