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
#include <random>
#include <string>

#include "tests/fuzz/fuzz_target.h"

extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

namespace skipstone {
namespace {

// Where one thing of interest is a number, others are its neighbours.
constexpr const char* kNumbers[] = {"0",
                                    "1",
                                    "-1",
                                    "7",
                                    "8",
                                    "127",
                                    "128",
                                    "255",
                                    "4096",
                                    "2147483647",
                                    "2147483648",
                                    "4294967296",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "18446744073709551615",
                                    "18446744073709551616",
                                    "1e9",
                                    "1e999",
                                    "0.5",
                                    "00",
                                    "1e-300"};

class Mutator {
 public:
  Mutator(const FuzzSeeds& seeds, uint32_t number) : seeds_(seeds), random_(number) {}

  std::string Input() {
    std::string input = Pick(seeds_.inputs);
    for (size_t i = Below(6); i > 0; --i) Mutate(&input);
    return input;
  }

 private:
  size_t Below(size_t n) { return random_() % n; }
  template <typename List>
  std::string Pick(const List& list) {
    return list[Below(std::size(list))];
  }

  void Mutate(std::string* input) {
    const size_t at = Below(input->size() + 1);
    const size_t length = Below(std::min<size_t>(input->size() - at, 16) + 1);
    switch (Below(8)) {
      case 0:
        if (at < input->size()) (*input)[at] ^= static_cast<char>(1 << Below(8));
        break;
      case 1:
        if (at < input->size()) (*input)[at] = static_cast<char>(random_());
        break;
      case 2:
        input->erase(at, length);
        break;
      case 3:
        input->insert(at, input->substr(at, length));
        break;
      case 4:
        input->insert(at, RandomBytes());
        break;
      case 5:
        input->replace(at, length, Pick(seeds_.dictionary));
        break;
      case 6:
        ReplaceNumber(input, at);
        break;
      default: {
        const std::string other = Pick(seeds_.inputs);
        input->replace(at, std::string::npos, other.substr(Below(other.size() + 1)));
      }
    }
  }

  // The run of digits after `at`.
  void ReplaceNumber(std::string* input, size_t at) {
    const char* const digits = "0123456789";
    const size_t begin = input->find_first_of(digits, at);
    if (begin == std::string::npos) return;
    const size_t end = std::min(input->find_first_not_of(digits, begin), input->size());
    input->replace(begin, end - begin, Pick(kNumbers));
  }

  std::string RandomBytes() {
    std::string bytes(1 + Below(4), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random_());
    return bytes;
  }

  const FuzzSeeds& seeds_;
  std::mt19937 random_;
};

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
