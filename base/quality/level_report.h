// What was measured of levels, as a table, JSON and an HTML page with its pictures inside it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/quality/measures.h"

namespace skipstone::quality {

// A row of the report. What was not measured is unset and shown as such.
struct LevelRow {
  std::string name;
  std::string skip;          // canonical text
  std::string compensation;  // kind of its maps; empty: none
  std::optional<Interval> perplexity;
  std::optional<Interval> nll_change;          // nats per token less the full model's, paired
  std::optional<Interval> kl;                  // nats per token
  std::optional<Interval> agreement;           // top-1 with the full model, 0 to 1
  std::optional<double> brier;                 // of the likeliest token, 0 to 1
  std::optional<double> calibration_error;     // expected, 0 to 1
  std::optional<double> accuracy;              // of multiple choice: acc, 0 to 1
  std::optional<double> accuracy_norm;         // acc_norm, 0 to 1
  std::optional<Interval> choice;              // acc_norm less the full model's, -1 to 1
  std::optional<double> last_words;            // met by greedy tokens, 0 to 1
  std::optional<double> last_word_perplexity;  // a word
  std::optional<Interval> recall;              // last words met less the full model's, -1 to 1
  // Of its greedy continuations: tokens that are the full model's likeliest there, 0 to 1; those
  // before the first that the full model's own continuation has not; perplexity under the full one.
  std::optional<Interval> retention;
  std::optional<Interval> retention_prefix;
  std::optional<double> generation_perplexity;
  // The first and the last of them for continuations that are sampled at temperature 1.
  std::optional<Interval> sampled_agreement;
  std::optional<double> sampled_perplexity;
  std::optional<double> decode_ms;   // for each token
  std::optional<double> prefill_ms;  // for each 1,000 tokens
  std::optional<double> pages;       // share of the full model's, 0 to 1
};

struct LevelReport {
  std::string title;
  std::string model;
  std::vector<std::string> notes;  // how it was measured, one sentence each
  std::vector<LevelRow> rows;      // the full model first
};

// All texts may be anything: control characters do not break the table, nor markup the page.
// A table for each kind of measure that some row has; intervals in brackets.
std::string ToTable(const LevelReport& report);
// {"title", "model", "notes", "rows": [{"name", "skip", "compensation", "perplexity": {"value",
// "low", "high"}, "brier": 0.2, ...}]}: keys are the fields above, null where unset.
std::string ToJson(const LevelReport& report);
// One file: table and Pareto pictures (SVG) of quality (KL, else nats lost, else perplexity)
// against decode time, prefill time and pages.
std::string ToHtml(const LevelReport& report);

}  // namespace skipstone::quality
