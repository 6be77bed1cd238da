// skipstone-calibrate: chooses, repairs and measures levels of a model.
#include <iostream>
#include <span>
#include <string>

#include "base/flag_set.h"
#include "tools/calibrate/calibrate.h"

int main(int argc, char** argv) {
  skipstone::calibrate::CalibrateOptions options;
  skipstone::FlagSet flags;
  options.AddTo(flags);
  constexpr char kUsage[] =
      "skipstone-calibrate: which sublayers a model misses least, maps that stand in for them, "
      "and\n"
      "what each level costs in quality, with intervals\n"
      "  skipstone-calibrate --model DIR --text a.txt --second_text b.txt --out levels.yaml\n";
  const std::span<const char* const> args(argv, argc);
  if (const auto exit = skipstone::ParseProgramFlags(flags, args, kUsage)) return *exit;
  const absl::Status status = skipstone::calibrate::Calibrate(options, std::cout, std::cerr);
  if (status.ok()) return 0;
  std::cerr << status.message() << "\n";
  return absl::IsInvalidArgument(status) ? 2 : 1;
}
