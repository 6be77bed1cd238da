#include "client/cli/request_mix.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/cli/skip_flag.h"

namespace skipstone::client {

absl::StatusOr<std::vector<MixPart>> ParseMix(const std::string& text) {
  if (text.empty()) return std::vector<MixPart>{{.name = "default"}};
  std::vector<MixPart> mix;
  for (const absl::string_view piece : absl::StrSplit(text, ';')) {
    const std::pair<std::string, std::string> halves =
        absl::StrSplit(piece, absl::MaxSplits('@', 1));
    MixPart part;
    part.name = std::string(absl::StripAsciiWhitespace(halves.first));
    const bool weighted = piece.find('@') != absl::string_view::npos;
    if (part.name.empty() || (weighted && (!absl::SimpleAtod(halves.second, &part.weight) ||
                                           !std::isfinite(part.weight) || part.weight <= 0))) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "--skip: \"%s\" is not SKIP or SKIP@WEIGHT with a weight above 0", std::string(piece)));
    }
    if (std::any_of(mix.begin(), mix.end(),
                    [&](const MixPart& other) { return other.name == part.name; })) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--skip: \"%s\" is there twice", part.name));
    }
    part.skip = SkipFromText(part.name);
    mix.push_back(std::move(part));
  }
  return mix;
}

size_t DrawPart(const std::vector<MixPart>& mix, std::mt19937_64& random) {
  if (mix.size() == 1) return 0;
  double total = 0;
  for (const MixPart& part : mix) total += part.weight;
  double left = std::uniform_real_distribution<double>(0, total)(random);
  for (size_t i = 0; i + 1 < mix.size(); ++i) {
    left -= mix[i].weight;
    if (left < 0) return i;
  }
  return mix.size() - 1;
}

}  // namespace skipstone::client
