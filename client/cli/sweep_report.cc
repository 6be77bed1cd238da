#include "client/cli/sweep_report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "absl/strings/str_format.h"

namespace skipstone::client {
namespace {

using quality::BootstrapMean;
using quality::BootstrapRatio;
using quality::Interval;
using quality::LevelRow;
using Numbers = std::vector<double>;

// From each result one number.
template <class Result, class Number>
Numbers Each(const std::vector<const Result*>& results, Number number) {
  Numbers numbers;
  for (const Result* result : results) numbers.push_back(static_cast<double>(number(*result)));
  return numbers;
}

double Sum(const Numbers& numbers) { return std::accumulate(numbers.begin(), numbers.end(), 0.0); }
double Mean(const Numbers& numbers) { return Sum(numbers) / static_cast<double>(numbers.size()); }

double Median(Numbers numbers) {
  std::sort(numbers.begin(), numbers.end());
  const size_t half = numbers.size() / 2;
  return numbers.size() % 2 == 1 ? numbers[half] : (numbers[half - 1] + numbers[half]) / 2;
}

Numbers Difference(const Numbers& a, const Numbers& b) {
  Numbers difference;
  std::transform(a.begin(), a.end(), b.begin(), std::back_inserter(difference), std::minus<>());
  return difference;
}

size_t EqualPlaces(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  size_t equal = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) equal += a[i] == b[i];
  return equal;
}

// Of the longer one, what comes before the first place where they differ. Two that are empty agree.
double EqualShare(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  const auto end = a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  const auto prefix =
      static_cast<double>(std::mismatch(a.begin(), end, b.begin()).first - a.begin());
  const size_t places = std::max(a.size(), b.size());
  return places == 0 ? 1 : prefix / static_cast<double>(places);
}

// Fills the row of one skip from its results and the full model's.
class RowMaker {
 public:
  RowMaker(const SweepPlan& plan, const SweepResults& results, int skip)
      : plan_(plan), results_(results), skip_(skip) {}

  LevelRow Make() {
    row_.name = plan_.skips[skip_].name;
    row_.skip = plan_.skips[skip_].spec;
    AddSpeed();
    AddText();
    AddChoices();
    AddLastWords();
    AddGeneration();
    return row_;
  }

 private:
  template <class Result>
  std::vector<const Result*> Of(SweepTask task, int skip) const {
    return ResultsOf<Result>(results_, task, skip, plan_.Items(task));
  }

  void AddSpeed();
  void AddText();
  void AddChoices();
  void AddLastWords();
  void AddGeneration();

  const SweepPlan& plan_;
  const SweepResults& results_;
  const int skip_;
  LevelRow row_;
};

void RowMaker::AddSpeed() {
  const auto runs = Of<SpeedResult>(SweepTask::kSpeed, skip_);
  const auto full = Of<SpeedResult>(SweepTask::kSpeed, 0);
  if (runs.empty()) return;
  const auto pages = [](const SpeedResult& run) { return run.kv_pages_used; };
  const double full_pages = Median(Each(full, pages));
  if (full_pages > 0) row_.pages = Median(Each(runs, pages)) / full_pages;
  row_.prefill_ms = Median(
      Each(runs, [](const SpeedResult& run) { return 1000 * run.prefill_ms / run.prompt_tokens; }));
  if (runs[0]->output_tokens < 2) return;
  row_.decode_ms = Median(
      Each(runs, [](const SpeedResult& run) { return run.decode_ms / (run.output_tokens - 1); }));
}

void RowMaker::AddText() {
  const auto windows = Of<TextResult>(SweepTask::kText, skip_);
  const auto full = Of<TextResult>(SweepTask::kText, 0);
  if (windows.empty()) return;
  const auto nll_of = [](const TextResult& window) { return window.sums.nll; };
  const Numbers nll = Each(windows, nll_of);
  const Numbers tokens = Each(windows, [](const TextResult& w) { return w.sums.tokens; });
  const Interval nats = BootstrapRatio(nll, tokens, {});
  row_.perplexity = Interval{std::exp(nats.value), std::exp(nats.low), std::exp(nats.high)};
  row_.nll_change = BootstrapRatio(Difference(nll, Each(full, nll_of)), tokens, {});
  Numbers agree;
  std::vector<quality::WindowSums> sums;
  for (size_t i = 0; i < windows.size(); ++i) {
    agree.push_back(EqualPlaces(windows[i]->likeliest, full[i]->likeliest));
    sums.push_back(windows[i]->sums);
  }
  row_.agreement = BootstrapRatio(agree, tokens, {});
  row_.brier = quality::BrierScore(sums);
  row_.calibration_error = quality::ExpectedCalibrationError(sums);
}

void RowMaker::AddChoices() {
  const auto& items = plan_.files.choices;
  if (items.empty()) return;
  Numbers correct;
  Numbers normalised[2];  // this one's and the full model's
  for (size_t i = 0; i < items.size(); ++i) {
    quality::ChoiceOutcome outcome{.characters = items[i].characters, .gold = items[i].gold};
    for (const int skip : {skip_, 0}) {
      const SweepKey key = {SweepTask::kChoices, static_cast<int>(i), skip};
      outcome.loglikelihood = std::get<ChoicesResult>(results_.at(key)).loglikelihood;
      if (normalised[0].size() == i) correct.push_back(quality::Correct(outcome));
      normalised[normalised[0].size() > i].push_back(quality::CorrectNormalised(outcome));
    }
  }
  row_.accuracy = Mean(correct);
  row_.accuracy_norm = Mean(normalised[0]);
  row_.choice = BootstrapMean(normalised[0], normalised[1], {});
}

void RowMaker::AddLastWords() {
  const auto words = Of<LastWordResult>(SweepTask::kLastWords, skip_);
  if (words.empty()) return;
  const auto greedy = [](const LastWordResult& word) { return word.greedy; };
  const Numbers met = Each(words, greedy);
  row_.last_words = Mean(met);
  row_.last_word_perplexity =
      std::exp(-Mean(Each(words, [](const LastWordResult& word) { return word.logprob; })));
  row_.recall = BootstrapMean(met, Each(Of<LastWordResult>(SweepTask::kLastWords, 0), greedy), {});
}

// What the full model thinks of continuations; those without a token tell nothing.
struct Opinion {
  Numbers agrees, tokens;
  double logprob = 0;

  void Add(const Continuation& continuation) {
    if (continuation.ids.empty()) return;
    agrees.push_back(continuation.agrees);
    tokens.push_back(static_cast<double>(continuation.ids.size()));
    logprob += continuation.logprob;
  }
  void Tell(std::optional<Interval>& agreement, std::optional<double>& perplexity) const {
    if (tokens.empty()) return;
    agreement = BootstrapRatio(agrees, tokens, {});
    perplexity = std::exp(-logprob / Sum(tokens));
  }
};

void RowMaker::AddGeneration() {
  const auto outputs = Of<GenerationResult>(SweepTask::kGeneration, skip_);
  const auto full = Of<GenerationResult>(SweepTask::kGeneration, 0);
  if (outputs.empty()) return;
  Opinion greedy, sampled;
  Numbers prefix;
  for (size_t i = 0; i < outputs.size(); ++i) {
    greedy.Add(outputs[i]->greedy);
    sampled.Add(outputs[i]->sampled);
    prefix.push_back(EqualShare(outputs[i]->greedy.ids, full[i]->greedy.ids));
  }
  greedy.Tell(row_.retention, row_.generation_perplexity);
  sampled.Tell(row_.sampled_agreement, row_.sampled_perplexity);
  row_.retention_prefix = BootstrapMean(prefix, {}, {});
}

std::string BaseName(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

std::vector<std::string> Notes(const SweepPlan& plan) {
  std::vector<std::string> notes;
  const SweepSettings& settings = plan.settings;
  if (!plan.windows.empty()) {
    notes.push_back(absl::StrFormat(
        "Text: %d windows of %d tokens of %s that do not overlap%s.", plan.windows.size(),
        settings.window, BaseName(plan.files.paths.text),
        plan.model.has_bos_token_id() ? ", each begun with the beginning-of-sequence token" : ""));
    notes.push_back(
        "The divergence over the vocabulary (KL) cannot be had through Score; \"nats lost\" is the "
        "mean difference of the log-probabilities of the text's tokens, \"agreement\" compares the "
        "likeliest tokens.");
  }
  if (!plan.files.choices.empty()) {
    notes.push_back(
        absl::StrFormat("Multiple choice: %d items of %s by the log-likelihood of each choice, as "
                        "lm-evaluation-harness counts acc and acc_norm.",
                        plan.files.choices.size(), BaseName(plan.files.paths.choices)));
  }
  if (!plan.files.last_words.empty()) {
    notes.push_back(
        absl::StrFormat("Last words: %d items of %s; met if each token is the likeliest.",
                        plan.files.last_words.size(), BaseName(plan.files.paths.last_words)));
  }
  if (!plan.prompts.empty()) {
    notes.push_back(absl::StrFormat(
        "Generation: up to %d tokens, greedy and at temperature 1, after each of the %d prompts of "
        "%s, scored under the full model.",
        settings.max_tokens, plan.prompts.size(), BaseName(plan.files.paths.prompts)));
  }
  if (settings.speed_runs > 0) {
    notes.push_back(
        absl::StrFormat("Times: the server's own, median of %d requests one at a time, prompts of "
                        "%d random tokens, "
                        "%d tokens generated; pages are those held at their end.",
                        settings.speed_runs, settings.speed_tokens, settings.max_tokens));
  }
  notes.push_back(
      "Intervals: 95 %, bootstrap over windows, items or prompts, changes in pairs with the full "
      "model; 2,000 resamples.");
  return notes;
}

}  // namespace

quality::LevelReport MakeSweepReport(const SweepPlan& plan, const SweepResults& results) {
  quality::LevelReport report;
  report.title = "Quality and cost of skip levels";
  report.model = absl::StrFormat("%s (%s), %s, %s weights", plan.model.model_name(),
                                 plan.model.model_fingerprint(), plan.model.backend(),
                                 plan.model.weight_type());
  report.notes = Notes(plan);
  for (size_t skip = 0; skip < plan.skips.size(); ++skip) {
    report.rows.push_back(RowMaker(plan, results, static_cast<int>(skip)).Make());
  }
  return report;
}

}  // namespace skipstone::client
