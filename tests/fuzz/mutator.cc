#include "tests/fuzz/mutator.h"

#include <algorithm>

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

}  // namespace

std::string Mutator::Input() {
  std::string input = Pick(seeds_.inputs);
  for (size_t i = Below(6); i > 0; --i) Mutate(&input);
  return input;
}

void Mutator::Mutate(std::string* input) {
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

void Mutator::ReplaceNumber(std::string* input, size_t at) {
  const char* const digits = "0123456789";
  const size_t begin = input->find_first_of(digits, at);
  if (begin == std::string::npos) return;
  const size_t end = std::min(input->find_first_not_of(digits, begin), input->size());
  input->replace(begin, end - begin, Pick(kNumbers));
}

std::string Mutator::RandomBytes() {
  std::string bytes(1 + Below(4), '\0');
  for (char& byte : bytes) byte = static_cast<char>(random_());
  return bytes;
}

}  // namespace skipstone
