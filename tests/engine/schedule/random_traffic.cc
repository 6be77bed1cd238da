#include "tests/engine/schedule/random_traffic.h"

#include <algorithm>
#include <memory>
#include <random>

#include "absl/strings/str_format.h"
#include "engine/skip/skip_grammar.h"
#include "tests/support/mapped_set.h"

namespace skipstone {
namespace {

// Arrivals are rare and dense in turn: the pool runs empty, and the queue runs full.
constexpr int kPhase = 150;

Operation::Kind RandomKind(const TrafficSetting& setting, bool dense, std::mt19937& random) {
  const uint32_t dice = random() % 100;
  if (dice < (dense ? 30u : 6u)) return Operation::Kind::kAdd;
  if (setting.removals && random() % 40 == 0) return Operation::Kind::kRemove;
  if (setting.deadlines && random() % 10 == 0) return Operation::Kind::kExpire;
  if (setting.prefill_limits && random() % 20 == 0) return Operation::Kind::kLimitPrefill;
  return random() % 2 == 0 ? Operation::Kind::kPlan : Operation::Kind::kCommit;
}

// Windows below, above and between full and skipped layers.
SkipSet RandomWindows(std::mt19937& random) {
  SkipSet skip(kTrafficLayers);
  const int shape = random() % 6;
  const int first = shape == 0 ? 0 : 1 + random() % 3;
  const int last = shape == 1 ? first : kTrafficLayers - 1;
  for (int layer = first; layer <= last; ++layer) {
    skip.WindowAttention(layer, random() % 4 == 0 ? 24 : 16);
  }
  if (shape == 2) skip.SkipAttention(kTrafficLayers - 1);
  if (shape == 3) skip.SkipAttention(0);
  if (shape == 4) skip.SkipMlp(2);
  return skip;
}

// What a level of one of two families has: most of the skipped sublayers have the family's map, or
// none has any.
SkipSet WithRandomMaps(const SkipSet& skip, std::mt19937& random) {
  SkipSet mapped = skip.WithoutMaps();
  const int number = random() % 3;
  for (int layer = 0; layer < kTrafficLayers && number > 0; ++layer) {
    if (!skip.KeepsAttention(layer) && random() % 4 != 0) {
      mapped.MapAttention(layer, AttentionMapOf(number, layer));
    }
    if (!skip.KeepsMlp(layer) && random() % 4 != 0) mapped.MapMlp(layer, MlpMapOf(number, layer));
  }
  return mapped;
}

// Sets with more below kept layers than the others have.
SkipSet RandomMappedSet(const SkipSet& skip, std::mt19937& random) {
  static const char* const kSkips[] = {"attn:0",         "attn:0-1", "mlp:0",
                                       "attn:1+mlp:0-1", "block:1",  "mlp:0,3"};
  const bool other = skip.WindowedAttention() == 0 && random() % 2 == 0;
  const SkipSet base = other ? *ParseSkipSet(kSkips[random() % 6], kTrafficLayers) : skip;
  return WithRandomMaps(base, random);
}

// More of the attention from the top, often; sometimes a window at the top, a layer that cannot be
// shed, or an MLP too.
SkipSet RandomCeiling(const SkipSet& skip, bool windows, std::mt19937& random) {
  SkipSet ceiling = skip;
  const int top = skip.LastKeptAttention();
  if (windows && top >= 0 && skip.Window(top) == 0 && random() % 2 == 0) {
    ceiling.WindowAttention(top, 16);
    return ceiling;
  }
  const int layers = 1 + random() % kTrafficLayers;
  for (int layer = kTrafficLayers - layers; layer < kTrafficLayers; ++layer) {
    ceiling.SkipAttention(layer);
  }
  if (random() % 4 == 0) ceiling.SkipAttention(0);
  if (random() % 8 == 0) ceiling.SkipMlp(1);
  return ceiling;
}

void AddPromptResults(SequenceSpec* spec, std::mt19937& random) {
  const int prompt = static_cast<int>(spec->prompt.size());
  if (random() % 4 == 0 && prompt >= 2) {
    spec->score_from = 1 + random() % (prompt - 1);
  } else if (random() % 3 == 0) {
    spec->prompt_logprobs = 0;
  }
}

void AddTokens(const TrafficSetting& setting, SequenceSpec* spec, std::mt19937& random) {
  const int scale = setting.windows ? 4 : 1;
  spec->prompt.resize(1 + random() % (20 * scale));
  for (int32_t& token : spec->prompt) token = static_cast<int32_t>(random() % kTrafficVocab);
  spec->max_tokens = 1 + random() % (12 * scale);
  if (random() % 2 == 0) spec->stop_ids = {3, 17};
  if (!setting.common_prefixes) return;
  const int prefix = random() % 3;
  const size_t common = std::min<size_t>(spec->prompt.size(), random() % (17 * scale));
  std::fill_n(spec->prompt.begin(), common, prefix);
  if (random() % 4 == 0) spec->cache_salt = "salt";
}

}  // namespace

std::vector<Operation> RandomOperations(const TrafficSetting& setting, uint32_t seed, int count) {
  std::mt19937 random(seed);
  std::vector<Operation> operations;
  Time now(std::chrono::hours(1));
  for (int i = 0; i < count; ++i) {
    now += std::chrono::milliseconds(random() % 2000);
    const Operation::Kind kind = RandomKind(setting, i / kPhase % 2 == 1, random);
    operations.push_back({.kind = kind, .value = static_cast<uint32_t>(random()), .at = now});
  }
  return operations;
}

std::vector<SequenceSpec> SpecsOf(const TrafficSetting& setting, const Operation& add) {
  static const char* const kSkips[] = {"none",     "none",   "attn:last=25%", "attn:last=50%",
                                       "attn:0-3", "attn:1", "mlp:last=2"};
  std::mt19937 random(add.value);
  SequenceSpec spec{.skip = *ParseSkipSet(kSkips[random() % 7], kTrafficLayers)};
  if (setting.windows && random() % 4 != 0) spec.skip = RandomWindows(random);
  if (setting.maps) spec.skip = RandomMappedSet(spec.skip, random);
  AddTokens(setting, &spec, random);
  spec.priority = random() % 3;
  spec.tenant = std::string(1, static_cast<char>('a' + random() % 3));
  spec.arrival = add.at;
  if (setting.ceilings && random() % 4 != 0) {
    spec.ceiling = RandomCeiling(spec.skip, setting.windows, random);
    if (setting.maps) spec.ceiling = WithRandomMaps(*spec.ceiling, random);
  }
  if (setting.prompt_results) AddPromptResults(&spec, random);
  if (setting.deadlines) {
    if (random() % 2 == 0) spec.deadline = add.at + std::chrono::seconds(1 + random() % 60);
    if (random() % 4 == 0) spec.time_limit = add.at + std::chrono::seconds(1 + random() % 60);
  }
  const int outputs = spec.scores() ? 1 : 1 + random() % setting.most_outputs;
  spec.group = std::make_shared<SequenceGroup>();
  std::vector<SequenceSpec> specs(outputs, spec);
  for (int i = 0; i < outputs; ++i) specs[i].output_index = i;
  return specs;
}

std::string Describe(const TrafficSetting& setting, std::span<const Operation> operations) {
  static const char* const kNames[] = {"add", "remove", "plan", "commit", "expire", "limit"};
  std::string text;
  for (const Operation& operation : operations) {
    text += absl::StrFormat("%8.3f s  %s", Seconds(operation.at.time_since_epoch()),
                            kNames[static_cast<int>(operation.kind)]);
    if (operation.kind == Operation::Kind::kAdd) {
      const std::vector<SequenceSpec> specs = SpecsOf(setting, operation);
      const SequenceSpec& spec = specs[0];
      absl::StrAppendFormat(&text, " n=%d prompt=%d max=%d skip=%s ceiling=%s priority=%d",
                            specs.size(), spec.prompt.size(), spec.max_tokens, spec.skip.ToString(),
                            spec.ceiling ? spec.ceiling->ToString() : "-", spec.priority);
      absl::StrAppendFormat(&text, " score_from=%d prompt_logprobs=%d", spec.score_from,
                            spec.prompt_logprobs);
    }
    absl::StrAppendFormat(&text, " (%u)\n", operation.value);
  }
  return text;
}

}  // namespace skipstone
