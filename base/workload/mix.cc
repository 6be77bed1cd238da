#include "base/workload/mix.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace skipstone {

absl::StatusOr<std::vector<MixPart>> ParseMix(const std::string& text) {
  std::vector<MixPart> mix;
  for (const absl::string_view piece : absl::StrSplit(text, ';')) {
    const std::pair<std::string, std::string> halves =
        absl::StrSplit(piece, absl::MaxSplits('@', 1));
    MixPart part{.name = std::string(absl::StripAsciiWhitespace(halves.first))};
    const bool weighted = piece.find('@') != absl::string_view::npos;
    if (part.name.empty() || (weighted && (!absl::SimpleAtod(halves.second, &part.weight) ||
                                           !std::isfinite(part.weight) || part.weight <= 0))) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "\"%s\" is not SKIP or SKIP@WEIGHT with a weight above 0", std::string(piece)));
    }
    if (std::ranges::count(mix, part.name, &MixPart::name) > 0) {
      return absl::InvalidArgumentError(absl::StrFormat("\"%s\" is there twice", part.name));
    }
    mix.push_back(std::move(part));
  }
  return mix;
}

int DrawPart(const std::vector<MixPart>& mix, std::mt19937_64& random) {
  double total = 0;
  for (const MixPart& part : mix) total += part.weight;
  double left = std::uniform_real_distribution(0.0, total)(random);
  const int last = static_cast<int>(mix.size()) - 1;
  for (int i = 0; i < last; ++i) {
    left -= mix[i].weight;
    if (left < 0) return i;
  }
  return last;
}

}  // namespace skipstone
