#include "tools/bench/options.h"

#include <algorithm>
#include <string_view>
#include <variant>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone {
namespace {

struct IntField {
  int BenchOptions::*member;
  int min;
};

struct Option {
  const char* name;
  std::variant<IntField, std::string BenchOptions::*, bool BenchOptions::*> field;
  const char* help;
};

const Option kOptions[] = {
    {"model", &BenchOptions::model, "Hugging Face directory or synthetic:..."},
    {"backend", &BenchOptions::backend, "auto, cpu or cuda"},
    {"threads", IntField{&BenchOptions::threads, 0}, "0: the CPUs this process may use"},
    {"batch", IntField{&BenchOptions::batch, 1}, "sequences that decode together"},
    {"context", IntField{&BenchOptions::context, 1}, "tokens before the first decode step"},
    {"prompt", IntField{&BenchOptions::prompt, 0}, "tokens of the prefill; 0: no prefill"},
    {"steps", IntField{&BenchOptions::steps, 0}, "decode steps per round; 0: no decode"},
    {"rounds", IntField{&BenchOptions::rounds, 1}, "repetitions; the skip sets take turns"},
    {"chunk", IntField{&BenchOptions::chunk, 1}, "rows of a prefill step at most"},
    {"page_tokens", IntField{&BenchOptions::page_tokens, 1}, "tokens of a K/V page"},
    {"tuning_cache", &BenchOptions::tuning_cache,
     "CUDA: file of timed algorithms, kept from run to run"},
    {"skip", &BenchOptions::skip, "skip sets separated by ';'; ratios are to the first"},
    {"json", &BenchOptions::json, "print JSON"},
    {"mixed", &BenchOptions::mixed, "also decode a batch whose sequences take the sets in turn"},
    {"stages", &BenchOptions::stages,
     "time each stage; a device then launches them singly: slower than a replayed step"},
    {"help", &BenchOptions::help, "print this"},
};

const Option* Find(std::string_view name) {
  for (const Option& option : kOptions) {
    if (name == option.name) return &option;
  }
  return nullptr;
}

absl::Status SetInt(const char* name, const IntField& field, const std::string& value,
                    BenchOptions* options) {
  int number = 0;
  if (!absl::SimpleAtoi(value, &number) || number < field.min) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--%s=%s is no integer from %d", name, value, field.min));
  }
  options->*field.member = number;
  return absl::OkStatus();
}

absl::Status SetBool(const char* name, bool BenchOptions::*member, const std::string& value,
                     BenchOptions* options) {
  if (value != "true" && value != "false") {
    return absl::InvalidArgumentError(
        absl::StrFormat("--%s=%s is neither true nor false", name, value));
  }
  options->*member = value == "true";
  return absl::OkStatus();
}

absl::Status Set(const Option& option, const std::string& value, BenchOptions* options) {
  if (const auto* field = std::get_if<IntField>(&option.field)) {
    return SetInt(option.name, *field, value, options);
  }
  if (const auto* member = std::get_if<bool BenchOptions::*>(&option.field)) {
    return SetBool(option.name, *member, value, options);
  }
  options->*std::get<std::string BenchOptions::*>(option.field) = value;
  return absl::OkStatus();
}

absl::Status CheckTogether(const BenchOptions& options) {
  if (options.prompt == 0 && options.steps == 0) {
    return absl::InvalidArgumentError("--prompt=0 and --steps=0 leave nothing to measure");
  }
  if (!options.mixed) return absl::OkStatus();
  const auto sets = 1 + std::count(options.skip.begin(), options.skip.end(), ';');
  if (sets < 2) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--mixed needs several skip sets, --skip is '%s'", options.skip));
  }
  if (options.steps == 0) return absl::InvalidArgumentError("--mixed decodes, --steps is 0");
  if (options.batch < sets) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--mixed needs a sequence for each of %d skip sets, --batch is %d", sets, options.batch));
  }
  return absl::OkStatus();
}

// "default 8, from 1".
std::string DefaultOf(const Option& option) {
  const BenchOptions defaults;
  if (const auto* number = std::get_if<IntField>(&option.field)) {
    return absl::StrFormat("default %d, from %d", defaults.*number->member, number->min);
  }
  if (const auto* flag = std::get_if<bool BenchOptions::*>(&option.field)) {
    return absl::StrFormat("default %s", defaults.**flag ? "true" : "false");
  }
  const std::string& text = defaults.*std::get<std::string BenchOptions::*>(option.field);
  return "default " + (text.empty() ? "none" : text);
}

}  // namespace

absl::StatusOr<BenchOptions> ParseBenchOptions(std::span<const char* const> args) {
  BenchOptions options;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string_view arg = args[i];
    const size_t equals = arg.find('=');
    const Option* option = arg.starts_with("--")
                               ? Find(arg.substr(2, equals == arg.npos ? equals : equals - 2))
                               : nullptr;
    if (option == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrFormat("unknown option '%s'\n%s", args[i], BenchUsage()));
    }
    std::string value;
    if (equals != arg.npos) {
      value = arg.substr(equals + 1);
    } else if (std::holds_alternative<bool BenchOptions::*>(option->field)) {
      value = "true";
    } else if (++i < args.size()) {
      value = args[i];
    } else {
      return absl::InvalidArgumentError(absl::StrFormat("--%s lacks its value", option->name));
    }
    SKIPSTONE_RETURN_IF_ERROR(Set(*option, value, &options));
  }
  if (!options.help) SKIPSTONE_RETURN_IF_ERROR(CheckTogether(options));
  return options;
}

std::string BenchUsage() {
  std::string text = "skipstone-engine-bench: the engine without gRPC, against its floors\n";
  for (const Option& option : kOptions) {
    text += absl::StrFormat("  --%-12s %s (%s)\n", option.name, option.help, DefaultOf(option));
  }
  return text;
}

}  // namespace skipstone
