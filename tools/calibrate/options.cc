#include "tools/calibrate/options.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "engine/skip/skip_grammar.h"

namespace skipstone::calibrate {
namespace {

absl::Status In(const char* flag, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrFormat("--%s: %s", flag, std::string(status.message())));
}

std::vector<std::string> Parts(const std::string& text) {
  return absl::StrSplit(text, ';', absl::SkipWhitespace());
}

// "25%" or a count, of `sublayers`.
absl::StatusOr<int> SizeOf(const std::string& text, int sublayers) {
  const bool percent = !text.empty() && text.back() == '%';
  double number = 0;
  if (!absl::SimpleAtod(percent ? text.substr(0, text.size() - 1) : text, &number) ||
      !(number > 0) || (percent && number > 100) || (!percent && number != std::floor(number))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("'%s' is neither a count nor a percentage", text));
  }
  const int size = static_cast<int>(percent ? std::floor(sublayers * number / 100 + 0.5) : number);
  if (size >= 1 && size <= sublayers) return size;
  return absl::InvalidArgumentError(absl::StrFormat(
      "'%s' is %d sublayers; the model has %d that may be skipped", text, size, sublayers));
}

}  // namespace

void CalibrateOptions::AddTo(FlagSet& flags) {
  flags.Add("model", &model, "Hugging Face directory");
  flags.Add("backend", &backend, "auto, cpu or cuda");
  flags.Add("threads", InRange(&threads, 0), "0: the CPUs this process may use");
  flags.AddList("text", &text,
                "UTF-8 text to choose and fit with, or token ids (*.ids); several: mixed evenly");
  flags.AddList("second_text", &second_text,
                "of another kind: maps that do not help there are not kept");
  flags.AddList("held_out", &held_out,
                "to measure the levels on; default: the last quarter of each --text");
  flags.Add("last_words", &last_words,
            "JSON lines {context, continuation}: is the continuation the likeliest (recall)");
  flags.Add("choices", &choices,
            "JSON lines {query, choices, gold}: is the right choice the likeliest");
  flags.Add("bos", &bos, "begin each window with the beginning-of-sequence token, if there is one");
  flags.Add("windows", InRange(&windows, 4, 100000), "windows of text to choose sublayers with");
  flags.Add("fit_windows", InRange(&fit_windows, 4, 100000), "windows of text to fit maps to");
  flags.Add("window", InRange(&window, 8, 1 << 20), "tokens of a window");
  flags.Add("held_out_windows", InRange(&held_out_windows, 2, 100000), "windows to measure with");
  flags.Add("held_out_window", InRange(&held_out_window, 8, 1 << 20), "tokens of one of them");
  flags.Add("items", InRange(&items, 1), "lines of --last_words and of --choices");
  flags.Add("prompts", InRange(&prompts, 0), "texts to go on from, for retention; 0: none");
  flags.Add("generated", InRange(&generated, 1), "tokens to generate for each");
  flags.Add("seed", &seed, "where windows begin, and of the bootstrap");
  flags.Add("ranker", &ranker,
            "how sublayers are chosen: last, keep-final, gate-norm, cosine, block-influence, "
            "angular, sink, single-kl, single-nll, greedy-kl or greedy-nll");
  flags.Add("compare", &compare, "rankers to report beside it, separated by ';'");
  flags.Add("sets", &sets, "skip sets to report beside the levels, separated by ';'");
  flags.Add("sublayers", OneOf(&sublayers, {"attention", "mlp", "all"}), "what may be skipped");
  flags.Add("suffix", &suffix,
            "skip only from the top: prompts then run less, prefixes are shared");
  flags.Add("pool", InRange(&pool, 0),
            "candidates of a greedy step, by what each costs alone; 0: all");
  flags.Add("levels", &levels, "sizes of the levels, counts or percentages, separated by ';'");
  flags.Add(
      "compensation", &compensation,
      "maps: bias, diag, rank=R, full (fitted), value (of the weights), separated by ';'; empty: "
      "none");
  flags.Add("select_with", &select_with, "bias or diag: choose sublayers under such maps");
  flags.Add("save_ms", InRange(&save_ms, 0.0),
            "a level more: the cheapest set that saves so many ms of a decode step at --context");
  flags.Add("save_pages", InRange(&save_pages, 0.0, 1.0),
            "a level more: the cheapest set that saves this share of the K/V pages");
  flags.Add("widths", &widths,
            "windows that levels by a budget may have beside skips, tokens, separated by ';'");
  flags.Add("context", InRange(&context, 1), "tokens before the decode steps that are timed");
  flags.Add("step_rows", InRange(&step_rows, 1), "rows of one step, of candidates together");
  flags.Add("out", &out, "levels file to write; its maps go beside it");
  flags.Add("journal", &journal, "results on their way, to go on from; default: OUT.journal");
  flags.Add("report", &report, "HTML page to write; JSON and table beside it; default: by OUT");
}

absl::StatusOr<CalibratePlan> PlanOf(const CalibrateOptions& options, int num_layers, int hidden) {
  CalibratePlan plan;
  const auto ranker = quality::ParseRanker(options.ranker);
  if (!ranker.ok()) return In("ranker", ranker.status());
  plan.search.ranker = *ranker;
  plan.search.attention = options.sublayers != "mlp";
  plan.search.mlp = options.sublayers != "attention";
  plan.search.suffix = options.suffix;
  plan.search.pool = options.pool;
  for (const std::string& name : Parts(options.compare)) {
    const auto compared = quality::ParseRanker(name);
    if (!compared.ok()) return In("compare", compared.status());
    if (*compared != *ranker) plan.compared.push_back(*compared);
  }
  if (!options.sets.empty()) {
    auto sets = ParseSkipList(options.sets, num_layers);
    if (!sets.ok()) return In("sets", sets.status());
    plan.sets = *std::move(sets);
  }
  const int sublayers = num_layers * (plan.search.attention + plan.search.mlp);
  for (const std::string& text : Parts(options.levels)) {
    const auto size = SizeOf(text, sublayers);
    if (!size.ok()) return In("levels", size.status());
    plan.sizes.push_back(*size);
  }
  std::ranges::sort(plan.sizes);
  plan.sizes.erase(std::unique(plan.sizes.begin(), plan.sizes.end()), plan.sizes.end());
  if (plan.sizes.empty()) return absl::InvalidArgumentError("--levels names no size");
  plan.search.steps = plan.sizes.back();
  for (const std::string& text : Parts(options.compensation)) {
    const auto form = quality::ParseMapForm(text, hidden);
    if (!form.ok()) return In("compensation", form.status());
    plan.compensations.push_back(*form);
  }
  for (const std::string& text : Parts(options.widths)) {
    int width = 0;
    if (!absl::SimpleAtoi(text, &width) || !IsWindow(width)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "--widths: '%s' is not a multiple of %d from %d", text, kWindowUnit, kMinWindow));
    }
    plan.widths.push_back(width);
  }
  if (options.select_with.empty()) return plan;
  const auto form = quality::ParseMapForm(options.select_with, hidden);
  if (!form.ok()) return In("select_with", form.status());
  if (form->kind > quality::MapForm::Kind::kDiagonal) {
    return absl::InvalidArgumentError(
        "--select_with takes bias or diag: others cost a matrix of "
        "sums for each candidate");
  }
  plan.search.form = *form;
  return plan;
}

}  // namespace skipstone::calibrate
