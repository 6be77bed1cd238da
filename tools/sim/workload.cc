#include "tools/sim/workload.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/hash.h"
#include "base/status.h"
#include "engine/skip/skip_grammar.h"

namespace skipstone {
namespace {

int32_t MadeUpToken(uint64_t seed, int position) {
  return static_cast<int32_t>(Mix64(seed + static_cast<uint64_t>(position)) >> 33);
}

uint64_t PrefixSeed(int prefix) { return Mix64(~static_cast<uint64_t>(prefix)); }
uint64_t RequestSeed(uint64_t seed, int64_t number) {
  return Mix64(Mix64(seed) + static_cast<uint64_t>(number));
}

}  // namespace

absl::StatusOr<std::vector<Level>> ParseLevels(const std::string& text, int num_layers) {
  std::vector<Level> levels;
  for (const absl::string_view part : absl::StrSplit(text, ';')) {
    const std::pair<std::string, std::string> halves =
        absl::StrSplit(part, absl::MaxSplits('@', 1));
    Level level{.name = std::string(absl::StripAsciiWhitespace(halves.first))};
    SKIPSTONE_ASSIGN_OR_RETURN(level.skip, ParseSkipSet(level.name, num_layers));
    const bool weighted = part.find('@') != absl::string_view::npos;
    if (weighted && (!absl::SimpleAtod(halves.second, &level.weight) || !(level.weight > 0) ||
                     !std::isfinite(level.weight))) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "\"%s\" is not SKIP or SKIP@WEIGHT with a weight above 0", std::string(part)));
    }
    levels.push_back(std::move(level));
  }
  return levels;
}

std::vector<int32_t> SimRequest::PromptTokens() const {
  std::vector<int32_t> tokens(prompt_tokens);
  for (int i = 0; i < prompt_tokens; ++i) {
    tokens[i] = MadeUpToken(i < prefix_tokens ? PrefixSeed(prefix) : seed, i);
  }
  return tokens;
}

Workload::Workload(WorkloadOptions options, std::vector<Level> levels)
    : options_(std::move(options)),
      levels_(std::move(levels)),
      arrivals_(Mix64(options_.seed)),
      lengths_(Mix64(options_.seed + 1)),
      level_choices_(Mix64(options_.seed + 2)),
      prefix_choices_(Mix64(options_.seed + 3)) {}

std::optional<SimRequest> Workload::Next() {
  SimRequest request;
  if (!options_.trace.empty()) {
    if (drawn_ >= static_cast<int64_t>(options_.trace.size())) return std::nullopt;
    const TraceRow& row = options_.trace[drawn_];
    const double arrival = static_cast<double>(row.arrival.count()) * options_.time_scale;
    request.arrival = Time(Duration(std::llround(arrival)));
    // Traces hold requests of no token at all; a server refuses them.
    request.prompt_tokens = std::max(row.prompt_tokens, 1);
    request.output_tokens = std::max(row.output_tokens, 1);
  } else {
    if (drawn_ >= options_.requests) return std::nullopt;
    seconds_ += std::exponential_distribution(options_.rate)(arrivals_);
    request.arrival = Time(Duration(std::llround(1e9 * seconds_)));
    request.prompt_tokens = options_.prompt.Draw(lengths_);
    request.output_tokens = options_.output.Draw(lengths_);
  }
  request.output_tokens = std::min(request.output_tokens, options_.context - 1);
  request.prompt_tokens = std::min(request.prompt_tokens, options_.context - request.output_tokens);
  request.level = DrawLevel();
  request.seed = RequestSeed(options_.seed, drawn_++);
  const bool common = std::bernoulli_distribution(options_.prefix_fraction)(prefix_choices_);
  const int prefix = std::uniform_int_distribution(0, options_.prefixes - 1)(prefix_choices_);
  if (common) {
    request.prefix = prefix;
    request.prefix_tokens = std::min(options_.prefix_tokens, request.prompt_tokens);
  }
  return request;
}

int Workload::DrawLevel() {
  double total = 0;
  for (const Level& level : levels_) total += level.weight;
  double left = std::uniform_real_distribution(0.0, total)(level_choices_);
  const int last = static_cast<int>(levels_.size()) - 1;
  for (int i = 0; i < last; ++i) {
    left -= levels_[i].weight;
    if (left < 0) return i;
  }
  return last;
}

}  // namespace skipstone
