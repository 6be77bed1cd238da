#include "tools/calibrate/measure.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "tools/calibrate/generations.h"
#include "tools/calibrate/session.h"
#include "tools/calibrate/timing.h"

namespace skipstone::calibrate {
namespace {

using quality::ContinuationScore;
using quality::LevelRow;

class Measurement {
 public:
  Measurement(const CalibrateOptions& options, const std::vector<SkipSet>& sets,
              const HeldOut& held_out, const Say& say, std::vector<LevelRow>& rows)
      : options_(options), sets_(sets), held_out_(held_out), say_(say), rows_(rows) {}

  absl::Status Text(quality::WindowPass& pass) {
    say_("measuring on held-out text");
    SKIPSTONE_ASSIGN_OR_RETURN(
        const std::vector<quality::Evaluation> evaluations,
        quality::Evaluate(pass, held_out_.windows, sets_, [&](int done, int total) {
          say_(absl::StrFormat("measuring on held-out text, window %d of %d", done, total));
        }));
    for (size_t i = 0; i < rows_.size(); ++i) {
      rows_[i].kl = evaluations[i].Kl(bootstrap());
      rows_[i].perplexity = evaluations[i].Perplexity(bootstrap());
      rows_[i].agreement = evaluations[i].Agreement(bootstrap());
      rows_[i].brier = quality::BrierScore(evaluations[i].windows);
      rows_[i].calibration_error = quality::ExpectedCalibrationError(evaluations[i].windows);
    }
    return absl::OkStatus();
  }

  absl::Status LastWords(quality::WindowPass& pass) {
    if (held_out_.last_words.empty()) return absl::OkStatus();
    SKIPSTONE_ASSIGN_OR_RETURN(
        const auto scores,
        quality::Score(pass, held_out_.last_words, sets_, [&](int done, int total) {
          if (done % 20 == 0) say_(absl::StrFormat("last words, item %d of %d", done, total));
        }));
    const std::vector<double> full = Hits(scores[0]);
    for (size_t i = 0; i < rows_.size(); ++i) {
      rows_[i].recall = quality::BootstrapMean(Hits(scores[i]), full, bootstrap());
    }
    return absl::OkStatus();
  }

  absl::Status Choices(quality::WindowPass& pass) {
    const ChoiceTask& task = held_out_.choices;
    if (task.items.empty()) return absl::OkStatus();
    SKIPSTONE_ASSIGN_OR_RETURN(const auto scores,
                               quality::Score(pass, task.answers, sets_, [&](int done, int total) {
                                 if (done % 20 == 0)
                                   say_(absl::StrFormat("choices, answer %d of %d", done, total));
                               }));
    std::vector<double> full;
    for (size_t set = 0; set < rows_.size(); ++set) {
      std::vector<double> correct, normalised;
      size_t answer = 0;
      for (const quality::ChoiceItem& item : task.items) {
        quality::ChoiceOutcome outcome{.characters = item.characters, .gold = item.gold};
        for (size_t i = 0; i < item.choices.size(); ++i) {
          outcome.loglikelihood.push_back(scores[set][answer++].loglikelihood);
        }
        correct.push_back(quality::Correct(outcome) ? 1 : 0);
        normalised.push_back(quality::CorrectNormalised(outcome) ? 1 : 0);
      }
      if (set == 0) full = normalised;
      rows_[set].accuracy = quality::BootstrapMean(correct, {}, bootstrap()).value;
      rows_[set].accuracy_norm = quality::BootstrapMean(normalised, {}, bootstrap()).value;
      rows_[set].choice = quality::BootstrapMean(normalised, full, bootstrap());
    }
    return absl::OkStatus();
  }

  // Each set's own continuations, scored by the full model.
  absl::Status Retention(quality::WindowPass& pass, const std::vector<Generated>& generated) {
    for (size_t set = 0; set < sets_.size(); ++set) {
      LevelRow& row = rows_[set];
      SKIPSTONE_RETURN_IF_ERROR(
          Ask(pass, generated[set].greedy, row.retention, row.generation_perplexity));
      SKIPSTONE_RETURN_IF_ERROR(
          Ask(pass, generated[set].sampled, row.sampled_agreement, row.sampled_perplexity));
    }
    return absl::OkStatus();
  }

  absl::Status Times() {
    say_("timing decode steps and prefill");
    SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<SetTimes> times, TimeSets(options_, sets_));
    for (size_t i = 0; i < rows_.size(); ++i) {
      rows_[i].decode_ms = times[i].decode_ms;
      rows_[i].prefill_ms = times[i].prefill_ms;
    }
    return absl::OkStatus();
  }

  void Pages() {
    for (size_t i = 0; i < rows_.size(); ++i) {
      double layers = 0;
      for (int layer = 0; layer < sets_[i].num_layers(); ++layer) {
        if (!sets_[i].KeepsAttention(layer)) continue;
        const int window = sets_[i].Window(layer);
        const double share = static_cast<double>(window + kSinkTokens) / options_.context;
        layers += window == 0 ? 1 : std::min(1.0, share);
      }
      rows_[i].pages = layers / sets_[i].num_layers();
    }
  }

 private:
  // The full model: whether it would have gone on so.
  absl::Status Ask(quality::WindowPass& pass, const std::vector<std::vector<int32_t>>& generated,
                   std::optional<quality::Interval>& agreement, std::optional<double>& perplexity) {
    std::vector<quality::Continuation> items;
    for (size_t i = 0; i < held_out_.prompts.size(); ++i) {
      quality::Continuation& item = items.emplace_back();
      item.tokens = held_out_.prompts[i];
      item.tokens.insert(item.tokens.end(), generated[i].begin(), generated[i].end());
      item.answer = static_cast<int>(generated[i].size());
    }
    SKIPSTONE_ASSIGN_OR_RETURN(const auto scores,
                               quality::Score(pass, items, {&sets_[0], 1}, nullptr));
    std::vector<double> agrees, tokens;
    double nll = 0, total = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      agrees.push_back(scores[0][i].full_agrees);
      tokens.push_back(items[i].answer);
      nll -= scores[0][i].full_loglikelihood;
      total += items[i].answer;
    }
    agreement = quality::BootstrapRatio(agrees, tokens, bootstrap());
    perplexity = std::exp(nll / total);
    return absl::OkStatus();
  }
  static std::vector<double> Hits(const std::vector<ContinuationScore>& scores) {
    std::vector<double> hits;
    for (const ContinuationScore& score : scores) hits.push_back(score.greedy ? 1 : 0);
    return hits;
  }
  quality::BootstrapOptions bootstrap() const { return {.seed = options_.seed}; }

  const CalibrateOptions& options_;
  const std::vector<SkipSet>& sets_;
  const HeldOut& held_out_;
  const Say& say_;
  std::vector<LevelRow>& rows_;
};

}  // namespace

absl::StatusOr<std::vector<quality::LevelRow>> Measure(const CalibrateOptions& options,
                                                       const LevelsFile& levels,
                                                       const std::vector<ChosenLevel>& names,
                                                       const std::vector<SkipSet>& sets,
                                                       const HeldOut& held_out, const Say& say) {
  std::vector<LevelRow> rows;
  std::vector<SkipSet> all = {SkipSet(levels.num_layers)};
  rows.push_back({.name = "none", .skip = "none"});
  for (size_t i = 0; i < names.size(); ++i) {
    all.push_back(sets[i]);
    rows.push_back({.name = names[i].name,
                    .skip = sets[i].WithoutMaps().ToString(),
                    .compensation = names[i].compensation});
  }
  Measurement measurement(options, all, held_out, say, rows);
  std::vector<Generated> generated;
  if (!held_out.prompts.empty()) {
    say("generating from held-out prompts");
    SKIPSTONE_ASSIGN_OR_RETURN(const auto model, OpenForCalibration(options, &levels));
    SKIPSTONE_ASSIGN_OR_RETURN(generated, Generate(std::move(model->loaded), held_out.prompts, all,
                                                   options.generated, options.seed));
  }
  {
    SKIPSTONE_ASSIGN_OR_RETURN(const auto model, OpenForCalibration(options, &levels));
    int window = static_cast<int>(held_out.windows[0].size());
    for (const auto* items : {&held_out.last_words, &held_out.choices.answers}) {
      for (const quality::Continuation& item : *items) {
        window = std::max(window, static_cast<int>(item.tokens.size()));
      }
    }
    for (const auto& prompt : held_out.prompts) {
      window = std::max(window, static_cast<int>(prompt.size()) + options.generated);
    }
    SKIPSTONE_ASSIGN_OR_RETURN(const auto pass, MakePass(options, *model, window));
    SKIPSTONE_RETURN_IF_ERROR(measurement.Text(*pass));
    SKIPSTONE_RETURN_IF_ERROR(measurement.LastWords(*pass));
    SKIPSTONE_RETURN_IF_ERROR(measurement.Choices(*pass));
    if (!generated.empty()) SKIPSTONE_RETURN_IF_ERROR(measurement.Retention(*pass, generated));
  }
  SKIPSTONE_RETURN_IF_ERROR(measurement.Times());
  measurement.Pages();
  return rows;
}

}  // namespace skipstone::calibrate
