// Runs a fuzz target on mutations of its seeds. Input number i is a function of i alone.
//
//   fuzz_skip --runs 20000     inputs 0 to 19999; exit 0, or death with the number of the input
//   fuzz_skip --only 1234      that input, for a debugger
//   fuzz_skip --seeds DIR      writes the seeds as a corpus for libFuzzer
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/mutator.h"

extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

namespace skipstone {
namespace {

unsigned current_input = 0;

void SayWhichInput() {
  char line[80];
  const int length = std::snprintf(line, sizeof(line), "died on input %u: run with --only %u\n",
                                   current_input, current_input);
  [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, line, length);
}

void OnSignal(int signal) {
  SayWhichInput();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void Run(const FuzzSeeds& seeds, unsigned number) {
  current_input = number;
  const std::string input =
      number < seeds.inputs.size() ? seeds.inputs[number] : Mutator(seeds, number).Input();
  // A copy of exactly this size on the heap, so that a sanitizer sees reads beyond its end.
  std::vector<uint8_t> bytes(input.begin(), input.end());
  bytes.shrink_to_fit();
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

int Main(const std::string& mode, const std::string& value) {
  const FuzzSeeds seeds = Seeds();
  if (mode == "--seeds") {
    for (size_t i = 0; i < seeds.inputs.size(); ++i) {
      std::ofstream(value + "/seed-" + std::to_string(i), std::ios::binary) << seeds.inputs[i];
    }
    return 0;
  }
  const auto number = static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 10));
  if (mode == "--only") {
    Run(seeds, number);
    return 0;
  }
  if (mode != "--runs" || number == 0) {
    std::fprintf(stderr, "usage: --runs N, --only N or --seeds DIR\n");
    return 2;
  }
  for (unsigned i = 0; i < number; ++i) Run(seeds, i);
  std::printf("%u inputs\n", number);
  return 0;
}

}  // namespace
}  // namespace skipstone

int main(int argc, char** argv) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) {
    std::signal(signal, skipstone::OnSignal);
  }
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(skipstone::SayWhichInput);
  return skipstone::Main(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "");
}
