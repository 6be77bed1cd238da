#include "base/quality/level_measure.h"

#include <cmath>

#include "absl/strings/str_format.h"

namespace skipstone::quality {
namespace {

using Kind = LevelMeasure::Kind;
using Row = LevelRow;

constexpr LevelMeasure kMeasures[] = {
    {Kind::kText, "perplexity", "perplexity", "of a text's tokens, given those before them",
     &Row::perplexity, 2},
    {Kind::kText, "nll_change", "nats lost",
     "negative log-likelihood a token less the full model's", &Row::nll_change, 4, 1, true},
    {Kind::kText, "kl", "KL", "divergence from the full model's distribution, nats a token",
     &Row::kl, 4},
    {Kind::kText, "agreement", "agreement %", "tokens whose likeliest next one is the full model's",
     &Row::agreement, 1, 100},
    {Kind::kText, "brier", "Brier", "mean square of confidence less hit, of the likeliest token",
     &Row::brier, 4},
    {Kind::kText, "calibration_error", "ECE", "expected calibration error, 15 bins",
     &Row::calibration_error, 4},
    {Kind::kTasks, "accuracy", "acc %", "multiple choice: the likeliest choice is right",
     &Row::accuracy, 1, 100},
    {Kind::kTasks, "accuracy_norm", "acc_norm %", "... by log-likelihood a character",
     &Row::accuracy_norm, 1, 100},
    {Kind::kTasks, "choice", "acc_norm change", "points less the full model's", &Row::choice, 1,
     100, true},
    {Kind::kTasks, "last_words", "last words %", "words met by the likeliest tokens",
     &Row::last_words, 1, 100},
    {Kind::kTasks, "last_word_perplexity", "word perplexity", "of the last words",
     &Row::last_word_perplexity, 2},
    {Kind::kTasks, "recall", "last words change", "points less the full model's", &Row::recall, 1,
     100, true},
    {Kind::kGeneration, "retention", "retention %",
     "generated tokens that are the full model's likeliest there", &Row::retention, 1, 100},
    {Kind::kGeneration, "retention_prefix", "until first difference %",
     "generated tokens before the first that differs", &Row::retention_prefix, 1, 100},
    {Kind::kGeneration, "generation_perplexity", "perplexity under full",
     "of what it generates, under the full model", &Row::generation_perplexity, 2},
    {Kind::kGeneration, "sampled_agreement", "sampled: likeliest %",
     "tokens sampled at temperature 1 that are the full model's likeliest there",
     &Row::sampled_agreement, 1, 100},
    {Kind::kGeneration, "sampled_perplexity", "sampled: perplexity under full",
     "of what it samples at temperature 1, under the full model", &Row::sampled_perplexity, 2},
    {Kind::kCost, "decode_ms", "decode ms/token", "a single sequence", &Row::decode_ms, 2},
    {Kind::kCost, "prefill_ms", "prefill ms/1k tokens", "a single prompt", &Row::prefill_ms, 1},
    {Kind::kCost, "pages", "pages %", "K/V pages of the full model's", &Row::pages, 1, 100},
};

}  // namespace

std::span<const LevelMeasure> LevelMeasures() { return kMeasures; }

const char* NameOf(Kind kind) {
  switch (kind) {
    case Kind::kText:
      return "Text";
    case Kind::kTasks:
      return "Tasks";
    case Kind::kGeneration:
      return "Generation";
    case Kind::kCost:
      return "Cost";
  }
  return "";
}

std::optional<Interval> LevelMeasure::IntervalIn(const LevelRow& row) const {
  const auto* member = std::get_if<std::optional<Interval> LevelRow::*>(&field);
  return member == nullptr ? std::nullopt : row.**member;
}

std::optional<double> LevelMeasure::ValueIn(const LevelRow& row) const {
  if (const auto* member = std::get_if<std::optional<double> LevelRow::*>(&field)) {
    return row.**member;
  }
  const std::optional<Interval> interval = IntervalIn(row);
  if (!interval) return std::nullopt;
  return interval->value;
}

std::string LevelMeasure::Text(std::optional<double> value) const {
  if (!value || !std::isfinite(*value)) return "-";
  double shown = *value * scale;
  if (std::abs(shown) < 0.5 * std::pow(10, -decimals)) shown = 0;  // no -0.0
  if (std::abs(shown) >= 1e7) return absl::StrFormat("%.2e", shown);
  return is_change ? absl::StrFormat("%+.*f", decimals, shown)
                   : absl::StrFormat("%.*f", decimals, shown);
}

std::string LevelMeasure::IntervalText(const LevelRow& row) const {
  const std::optional<Interval> interval = IntervalIn(row);
  if (!interval || !std::isfinite(interval->value)) return "";
  return absl::StrFormat("[%s, %s]", Text(interval->low), Text(interval->high));
}

}  // namespace skipstone::quality
