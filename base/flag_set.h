// The flags of a program or command, and the keys of a file: one row for each says name, target,
// the values it takes and what it does. Parsing never ends the process, and nothing is global.
//
//   FlagSet flags;
//   flags.Add("threads", InRange(&threads, 1, 64), "CPU threads");
//   flags.Add("skip", &skip, "skip set");
//   absl::StatusOr<std::vector<std::string>> positional = flags.Parse(arguments);
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/flags/marshalling.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace skipstone {

// How text becomes the value of a target, and the value text.
struct FlagValue {
  std::string wanted;                            // "true or false"; empty: any text is taken
  std::function<bool(const std::string&)> read;  // false: not what is wanted, nothing has changed
  std::function<std::string()> write;
  bool is_bool = false;  // the flag alone means true, with "no" before its name false
};

// What absl::ParseFlag takes and `accept` too, which is told by `wanted`.
template <typename T, typename Accept>
FlagValue Checked(T* target, std::string wanted, Accept accept) {
  const auto read = [target, accept](const std::string& text) {
    T value{};
    std::string why;
    if (!absl::ParseFlag<T>(text, &value, &why) || !accept(value)) return false;
    *target = std::move(value);
    return true;
  };
  return {std::move(wanted), read, [target] { return absl::UnparseFlag<T>(*target); },
          std::is_same_v<T, bool>};
}

// A number; floating point without `most` has no bound above.
template <typename T>
FlagValue InRange(T* target, std::type_identity_t<T> least,
                  std::type_identity_t<T> most = std::numeric_limits<T>::max()) {
  const bool open = std::is_floating_point_v<T> && most == std::numeric_limits<T>::max();
  if (open) most = std::numeric_limits<T>::infinity();
  std::string wanted = std::is_integral_v<T> ? "a whole number" : "a number";
  absl::StrAppend(&wanted, " from ", least);
  if (!open) absl::StrAppend(&wanted, " to ", most);
  // Not a number fails both comparisons.
  return Checked(target, wanted, [=](T number) { return number >= least && number <= most; });
}

// T: bool, an integer, float, double, std::string, absl::Duration, or std::optional of one, which
// an empty text empties. A bool may be on or off, too.
template <typename T>
FlagValue ValueOf(T* target) {
  if constexpr (std::is_integral_v<T>) {
    return InRange(target, std::numeric_limits<T>::min());
  } else {
    const char* wanted = std::is_floating_point_v<T>         ? "a number"
                         : std::is_same_v<T, absl::Duration> ? "a duration, such as 500ms or 30s"
                                                             : "";
    return Checked(target, wanted, [](const T&) { return true; });
  }
}
template <typename T>
FlagValue ValueOf(std::optional<T>* target) {
  T value;
  return Checked(target, ValueOf(&value).wanted, [](const auto&) { return true; });
}
FlagValue ValueOf(bool* target);

FlagValue OneOf(std::string* target, std::vector<std::string> choices);
FlagValue ShareOf(double* target);  // of a bound, as the mark of a brown-out

// One thread. Targets must outlive it.
class FlagSet {
 public:
  struct Flag {
    std::string name;
    FlagValue value;
    std::string help;
    std::string default_text;  // empty: none that could be given
  };

  // What the target holds is the default.
  void Add(std::string name, FlagValue value, std::string help);
  template <typename T>
  void Add(std::string name, T* target, std::string help) {
    Add(std::move(name), ValueOf(target), std::move(help));
  }
  // May be given several times; each value is taken as it is.
  void AddList(std::string name, std::vector<std::string>* target, std::string help);

  const std::vector<Flag>& flags() const { return flags_; }
  const Flag* Find(const std::string& name) const;

  // INVALID_ARGUMENT: "NAME: 'TEXT' is not WANTED"; NOT_FOUND: there is no such flag.
  absl::Status Set(const std::string& name, const std::string& text) const;
  // Takes --name=value, --name value, --name and --noname (bool). Returns the other arguments;
  // everything after "--" is one of them. Errors name the flag and the value.
  absl::StatusOr<std::vector<std::string>> Parse(std::span<const std::string> arguments) const;
  // Of each flag: its name and the values it takes, what it does, its default.
  std::string Help() const;

 private:
  // Parses arguments[i] and, where the flag takes one, its value; moves i to the last one used.
  absl::Status ParseOne(std::span<const std::string> arguments, size_t& i) const;

  std::vector<Flag> flags_;
};

// The command line of a program that takes flags only. Nothing: go on. Else the exit status: 0
// after --help, which prints `usage` and the flags, 2 after an error was told on stderr.
std::optional<int> ParseProgramFlags(const FlagSet& flags, std::span<const char* const> argv,
                                     const std::string& usage);

}  // namespace skipstone
