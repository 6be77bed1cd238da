// What a request may ask for, as plain values, and the table of those of its fields that are one
// value: a row is the field's path on the wire, its member, its limits and what it does. Conversion
// with its errors, the flags of `skipstone generate`, what a backend must serve and the tests are
// made of the rows.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"

namespace skipstone {

// Applied in this order: logit bias, suppression, penalties, temperature, top-k, top-p, min-p,
// draw (SEMANTICS "Sampling"). The defaults change nothing.
struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy, ties to the lowest id
  int top_k = 0;             // 0: all
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;  // over prompt and output
  float presence_penalty = 0.0f;    // over the output
  float frequency_penalty = 0.0f;   // over the output
  uint64_t seed = 0;
  std::vector<std::pair<int32_t, float>> logit_bias;
  // No id of suppressed_ids is drawn before the output holds min_tokens tokens.
  int min_tokens = 0;
  std::vector<int32_t> suppressed_ids;

  bool HasPenalties() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
};

struct StoppingParams {
  std::optional<int> max_tokens;  // unset: until the context or the pool is full
  int min_tokens = 0;
  std::vector<std::string> stop_strings;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  bool include_stop = false;
  std::optional<Duration> time_limit;  // from arrival
};

struct OutputParams {
  int logprobs = -1;         // alternatives per generated token; -1: no log-probabilities
  int prompt_logprobs = -1;  // the same for prompt tokens
  bool token_texts = true;   // false: generated tokens come as ids only, beside the delta's text
  // The output is a text of its own, not the prompt's continuation: a chat's answer.
  bool starts_text = false;
};

struct FieldLimits {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool above = false;     // more than `least`
  const char* unit = "";  // of what is counted

  // False for NaN.
  bool Hold(double value) const {
    return (above ? value > least : value >= least) && value <= most;
  }
  // "in (0, 1]", ">= 1", "up to 256 bytes"; empty: there are none.
  std::string ToText() const {
    if (*unit != '\0') return absl::StrCat("up to ", most, " ", unit);
    if (most == FieldLimits().most) {
      return least == FieldLimits().least ? "" : absl::StrCat(">= ", least);
    }
    return absl::StrCat("in ", above ? "(" : "[", least, ", ", most, "]");
  }
};

inline constexpr FieldLimits kPriorityLimits{-100, 100};
inline constexpr FieldLimits kAlternativesLimits{.most = 20, .unit = "alternatives"};
inline constexpr FieldLimits kKeyLimits{.most = 256, .unit = "bytes"};

// visit(path, member, limits, help). The member is a pointer to one of the structs above, or null
// where the field is no value of its own there.
template <class Visit>
void ForEachRequestField(const Visit& visit) {
  using Sampling = SamplingParams;
  using Stopping = StoppingParams;
  using Limits = FieldLimits;
  constexpr Limits kAny, kPositive{.least = 1};
  visit("sampling.temperature", &Sampling::temperature, Limits{0, 2}, "0 is greedy");
  visit("sampling.top_p", &Sampling::top_p, Limits{0, 1, true}, "likeliest tokens of so much");
  visit("sampling.top_k", &Sampling::top_k, kAny, "likeliest tokens, 0: all");
  visit("sampling.min_p", &Sampling::min_p, Limits{0, 1}, "relative to the likeliest token");
  visit("sampling.repetition_penalty", &Sampling::repetition_penalty, Limits{0, 10, true},
        "over prompt and output");
  visit("sampling.presence_penalty", &Sampling::presence_penalty, Limits{-2, 2}, "over the output");
  visit("sampling.frequency_penalty", &Sampling::frequency_penalty, Limits{-2, 2},
        "over the output, by count");
  visit("sampling.seed", &Sampling::seed, kAny, "default: drawn by the server");
  visit("stopping.max_tokens", &Stopping::max_tokens, kPositive,
        "default: until the context is full");
  visit("stopping.min_tokens", &Stopping::min_tokens, kAny, "no end-of-sequence or stop id before");
  visit("stopping.ignore_eos", &Stopping::ignore_eos, kAny, "go on after an end-of-sequence token");
  visit("stopping.include_stop", &Stopping::include_stop, kAny, "keep the stop text or token");
  visit("stopping.time_limit_ms", &Stopping::time_limit, kPositive,
        "from arrival; ends with a partial result");
  visit("output.logprobs", &OutputParams::logprobs, kAlternativesLimits,
        "print each token's log-probability and N alternatives");
  visit("output.prompt_logprobs", &OutputParams::prompt_logprobs, kAlternativesLimits,
        "the same of the prompt, in JSON");
  visit("output.token_ids", nullptr, kAny, "send tokens too, not only with logprobs");
  visit("output.echo", nullptr, kAny, "the prompt's text before the output's");
  visit("n", nullptr, Limits{1, 16}, "outputs; default 1");
  visit("priority", nullptr, kPriorityLimits, "one more outweighs 30 s of waiting; default 0");
  visit("truncate_prompt_tokens", nullptr, kPositive, "keep only so many of the prompt's last");
  visit("experiment_key", nullptr, kKeyLimits, "unit of assignment for experiments that use it");
  visit("cache_salt", nullptr, kKeyLimits, "cached prefixes are shared under equal salts only");
}

}  // namespace skipstone
