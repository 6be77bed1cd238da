// The flags of one command: abseil's syntax and value types, without its globals, so that each
// command has its own set and parsing never ends the process.
//
//   FlagSet flags;
//   flags.Add("max_tokens", &max_tokens, "tokens to generate at most");
//   absl::StatusOr<std::vector<std::string>> positional = flags.Parse(arguments);
#pragma once

#include <functional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/flags/marshalling.h"
#include "absl/status/statusor.h"

namespace skipstone::client {

// One thread. Targets must outlive it; what they hold when added is shown as the default.
class FlagSet {
 public:
  // T: bool, an integer, double, std::string, absl::Duration, or std::optional of one.
  template <typename T>
  void Add(std::string name, T* target, std::string help) {
    flags_.push_back({std::move(name), std::move(help), absl::UnparseFlag(*target),
                      std::is_same_v<T, bool>, [target](const std::string& text) {
                        std::string error;
                        if (absl::ParseFlag(text, target, &error)) return absl::OkStatus();
                        return absl::InvalidArgumentError(error);
                      }});
  }
  // May be given several times; each value is taken as it is.
  void AddList(std::string name, std::vector<std::string>* target, std::string help);

  // Takes --name=value, --name value, --name and --noname (bool). Returns the other arguments;
  // everything after "--" is one of them. Errors name the flag and the value.
  absl::StatusOr<std::vector<std::string>> Parse(std::span<const std::string> arguments);

  // One line or more per flag: name, meaning, default.
  std::string Help() const;

 private:
  struct Flag {
    std::string name;
    std::string help;
    std::string default_text;
    bool is_bool = false;
    std::function<absl::Status(const std::string&)> set;
  };
  const Flag* Find(const std::string& name) const;
  // Parses arguments[i] and, where the flag takes one, its value; moves i to the last one used.
  absl::Status ParseOne(std::span<const std::string> arguments, size_t& i) const;

  std::vector<Flag> flags_;
};

}  // namespace skipstone::client
