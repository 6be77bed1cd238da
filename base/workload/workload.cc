#include "base/workload/workload.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/hash.h"

namespace skipstone {
namespace {

int32_t MadeUpToken(uint64_t seed, int position) {
  return static_cast<int32_t>(Mix64(seed + static_cast<uint64_t>(position)) >> 33);
}

uint64_t PrefixSeed(int prefix) { return Mix64(~static_cast<uint64_t>(prefix)); }
uint64_t RequestSeed(uint64_t seed, uint64_t number) { return Mix64(Mix64(seed) + number); }

// At most 30 years, so that a clock's 64 bits of nanoseconds hold every arrival.
Duration FromNanoseconds(double count) { return Duration(std::llround(std::min(count, 1e18))); }

}  // namespace

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
  std::vector<double> weights;
  for (const MixPart& part : mix) weights.push_back(part.weight);
  return std::discrete_distribution<int>(weights.begin(), weights.end())(random);
}

std::vector<int32_t> PlannedRequest::PromptTokens() const {
  std::vector<int32_t> tokens(prompt_tokens);
  for (int i = 0; i < prompt_tokens; ++i) {
    tokens[i] = MadeUpToken(i < prefix_tokens ? PrefixSeed(prefix) : seed, i);
  }
  return tokens;
}

Workload::Workload(WorkloadOptions options, std::vector<MixPart> mix)
    : options_(std::move(options)),
      mix_(std::move(mix)),
      arrivals_(Mix64(options_.seed)),
      lengths_(Mix64(options_.seed + 1)),
      part_choices_(Mix64(options_.seed + 2)),
      prefix_choices_(Mix64(options_.seed + 3)) {}

std::optional<PlannedRequest> Workload::Next(Duration now) {
  if (options_.requests && drawn_ >= *options_.requests) return std::nullopt;
  PlannedRequest request{.arrival = now};
  if (options_.trace.empty()) {
    if (options_.rate) {
      seconds_ += std::exponential_distribution(*options_.rate)(arrivals_);
      request.arrival = FromNanoseconds(1e9 * seconds_);
    }
    request.prompt_tokens = options_.prompt.Draw(lengths_);
    request.output_tokens = options_.output.Draw(lengths_);
  } else {
    if (drawn_ >= options_.trace.size()) return std::nullopt;
    const TraceRow& row = options_.trace[drawn_];
    request.arrival =
        FromNanoseconds(static_cast<double>(row.arrival.count()) * options_.time_scale);
    // Traces hold requests of no token at all; a server refuses them.
    request.prompt_tokens = std::max(row.prompt_tokens, 1);
    request.output_tokens = std::max(row.output_tokens, 1);
  }
  if (options_.duration && request.arrival >= *options_.duration) return std::nullopt;
  FitContext(request);
  request.part = DrawPart(mix_, part_choices_);
  request.seed = RequestSeed(options_.seed, drawn_++);
  const bool common = std::bernoulli_distribution(options_.prefix_fraction)(prefix_choices_);
  const int prefix = std::uniform_int_distribution(0, options_.prefixes - 1)(prefix_choices_);
  if (common) {
    request.prefix = prefix;
    request.prefix_tokens = std::min(options_.prefix_tokens, request.prompt_tokens);
  }
  return request;
}

// The output is kept as long as it can be: it is what takes the time.
void Workload::FitContext(PlannedRequest& request) {
  if (int64_t{request.prompt_tokens} + request.output_tokens > options_.context) ++shortened_;
  request.output_tokens = std::min(request.output_tokens, options_.context - 1);
  request.prompt_tokens = std::min(request.prompt_tokens, options_.context - request.output_tokens);
}

}  // namespace skipstone
