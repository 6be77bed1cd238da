#include "tools/calibrate/choose.h"

#include <array>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/llama_runner.h"
#include "engine/quality/level_search.h"
#include "engine/quality/map_strength.h"
#include "engine/quality/rankers.h"
#include "engine/quality/value_map.h"
#include "tools/calibrate/budget.h"
#include "tools/calibrate/timing.h"

namespace skipstone::calibrate {
namespace {

using quality::Level;
using quality::Ranker;
using quality::Trials;

// On each of the texts.
struct TextTrials {
  Trials& choose;
  Trials& fit;
  Trials* second;  // null: there is none
};

class Chooser {
 public:
  Chooser(const CalibrateOptions& options, const CalibratePlan& plan, OpenedModel& model,
          quality::WindowPass& pass, const TextTrials& trials, const Say& say)
      : options_(options), plan_(plan), model_(model), pass_(pass), trials_(trials), say_(say) {}

  absl::Status Run(const quality::Windows& windows, Choice* choice) {
    windows_ = &windows;
    SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<Level> chain, Chain(plan_.search));
    for (const int size : plan_.sizes) {
      const std::string name = absl::StrFormat("%s-%d", Kind(plan_.search), size);
      // What was chosen under maps is offered without, too: it is measured on its own.
      const SkipSet skip = chain[size - 1].skip;
      choice->levels.push_back({name, FamilyOf(""), "", {.skip = skip}});
      for (const quality::MapForm& form : plan_.compensations) {
        SKIPSTONE_RETURN_IF_ERROR(Compensate(name, skip, form, choice));
      }
    }
    SKIPSTONE_RETURN_IF_ERROR(AddBudgets(choice));
    for (const SkipSet& set : plan_.sets) {
      choice->compared.push_back({set.ToString(), "", "", {.skip = set}});
    }
    for (const Ranker ranker : plan_.compared) {
      SKIPSTONE_RETURN_IF_ERROR(Compare(ranker, choice));
    }
    return absl::OkStatus();
  }

 private:
  static std::string Kind(const quality::SearchOptions& search) {
    if (search.suffix || search.ranker == Ranker::kLast) return "last";
    return search.attention ? search.mlp ? "sublayers" : "attn" : "mlp";
  }
  std::string FamilyOf(const std::string& compensation) const {
    const std::string family =
        absl::StrFormat("%s-%s", Kind(plan_.search), NameOf(plan_.search.ranker));
    return compensation.empty() ? family : absl::StrFormat("%s-%s", family, compensation);
  }

  absl::StatusOr<std::vector<Level>> Chain(const quality::SearchOptions& search) {
    say_(absl::StrFormat("choosing %d sublayers by %s", search.steps, NameOf(search.ranker)));
    quality::Scores scores;
    if (quality::NeedsScores(search.ranker)) {
      SKIPSTONE_ASSIGN_OR_RETURN(scores, ScoresOf(search.ranker));
    }
    return quality::Search(trials_.choose, search, scores);
  }

  absl::StatusOr<quality::Scores> ScoresOf(Ranker ranker) {
    const ModelShape& shape = model_.loaded.config.shape;
    const int threads = options_.threads > 0 ? options_.threads : AvailableCpus();
    if (ranker == Ranker::kGateNorm) return quality::GateNorm(model_.tensors, shape, threads);
    quality::StateScores scores(shape.num_layers, shape.hidden);
    SKIPSTONE_ASSIGN_OR_RETURN(
        quality::SinkScores sinks,
        quality::SinkScores::Make(model_.tensors, shape, {.threads = threads}));
    SKIPSTONE_RETURN_IF_ERROR(ForEachLayer([&](int layer, const LayerStates& states) {
      if (ranker == Ranker::kSink) return sinks.Add(layer, states[0]);
      scores.Add(layer, states[0], states[1], states[2]);
    }));
    if (ranker == Ranker::kSink) return sinks.Get();
    if (ranker == Ranker::kBlockInfluence) return scores.BlockInfluence();
    return ranker == Ranker::kAngular ? scores.AngularDistance() : scores.AttentionCosine();
  }

  // The full model's states before a layer's attention, behind it, and behind its MLP.
  using LayerStates = std::array<std::vector<float>, 3>;
  absl::Status ForEachLayer(const std::function<void(int layer, const LayerStates&)>& visit) {
    const int layers = model_.loaded.config.shape.num_layers;
    quality::Variant full{.skip = SkipSet(layers), .end = 2 * layers};
    full.observed.set();
    for (const std::vector<int32_t>& window : *windows_) {
      LayerStates states;
      SKIPSTONE_RETURN_IF_ERROR(pass_.Run(
          window, {&full, 1}, [&](int, quality::Point point, std::span<const float> state) {
            if (point > 0 && point % 2 == 0) {
              states[2].assign(state.begin(), state.end());
              visit(point / 2 - 1, states);
            }
            states[point % 2].assign(state.begin(), state.end());
          }));
    }
    return absl::OkStatus();
  }

  // Levels that save what is asked for, with windows beside skips.
  absl::Status AddBudgets(Choice* choice) {
    const auto add = [&](Budget budget, const char* name, const StepCost& step) -> absl::Status {
      say_(absl::StrFormat("choosing %s", name));
      SKIPSTONE_ASSIGN_OR_RETURN(Level level,
                                 CheapestLevel(trials_.choose, options_, plan_, budget, step));
      choice->levels.push_back({name, name, "", std::move(level)});
      return absl::OkStatus();
    };
    StepCost step{.work = ModelWorkOf(model_.loaded)};
    if (options_.save_pages > 0) SKIPSTONE_RETURN_IF_ERROR(add(Budget::kPages, "pages", step));
    if (options_.save_ms <= 0) return absl::OkStatus();
    const SkipSet full(model_.loaded.config.shape.num_layers);
    SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<SetTimes> times, TimeSets(options_, {&full, 1}));
    step.milliseconds = times[0].decode_ms;
    return add(Budget::kMilliseconds, "time", step);
  }

  absl::Status Compensate(const std::string& name, const SkipSet& skip,
                          const quality::MapForm& form, Choice* choice) {
    const std::string form_name = NameOf(form);
    say_(absl::StrFormat("fitting %s to %s", form_name, name));
    Level fitted{.skip = skip};
    if (form.kind == quality::MapForm::Kind::kValue) {
      SKIPSTONE_ASSIGN_OR_RETURN(
          fitted.fitted, quality::ValueMaps(model_.tensors, model_.loaded.config.shape, skip));
    } else {
      SKIPSTONE_ASSIGN_OR_RETURN(fitted.fitted, trials_.fit.Fit(skip, form));
    }
    SKIPSTONE_ASSIGN_OR_RETURN(fitted, quality::ChooseStrengths(trials_.choose, std::move(fitted)));
    if (fitted.fitted.empty()) {
      choice->notes.push_back(
          absl::StrFormat("%s: %s maps are not kept: none lowers the KL.", name, form_name));
      return absl::OkStatus();
    }
    Trials& judge = trials_.second == nullptr ? trials_.fit : *trials_.second;
    SKIPSTONE_ASSIGN_OR_RETURN(const quality::Cost with, judge.Measure(fitted));
    SKIPSTONE_ASSIGN_OR_RETURN(const quality::Cost without, judge.Measure(Level{.skip = skip}));
    if (!(with.kl < without.kl)) {
      choice->notes.push_back(
          absl::StrFormat("%s: %s maps are not kept: KL %.3f with them, %.3f without, on %s.", name,
                          form_name, with.kl, without.kl,
                          trials_.second == nullptr ? "the text of their fit" : "the second text"));
      return absl::OkStatus();
    }
    choice->levels.push_back({absl::StrFormat("%s-%s", name, LevelNameOf(form)),
                              FamilyOf(form_name), form_name, std::move(fitted)});
    return absl::OkStatus();
  }

  // Without what level names may not hold.
  static std::string LevelNameOf(const quality::MapForm& form) {
    return form.rank > 0 ? absl::StrFormat("rank%d", form.rank) : NameOf(form);
  }

  absl::Status Compare(Ranker ranker, Choice* choice) {
    quality::SearchOptions search = plan_.search;
    search.ranker = ranker;
    search.form.reset();
    search.suffix = false;
    SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<Level> chain, Chain(search));
    for (const int size : plan_.sizes) {
      choice->compared.push_back({absl::StrFormat("%s, %d", NameOf(ranker), size),
                                  "",
                                  "",
                                  {.skip = chain[size - 1].skip}});
    }
    return absl::OkStatus();
  }

  const CalibrateOptions& options_;
  const CalibratePlan& plan_;
  OpenedModel& model_;
  quality::WindowPass& pass_;
  const TextTrials trials_;
  const quality::Windows* windows_ = nullptr;  // to choose with
  const Say& say_;
};

}  // namespace

absl::StatusOr<Choice> Choose(const CalibrateOptions& options, const CalibratePlan& plan,
                              OpenedModel& model, quality::WindowPass& pass,
                              const ChoiceTexts& texts, quality::Journal& journal, const Say& say) {
  Choice choice;
  quality::Journal none;
  const int threads = options.threads > 0 ? options.threads : AvailableCpus();
  const auto progress = [&say](int done, int total) {
    say(absl::StrFormat("trying candidates, window %d of %d", done, total));
  };
  Trials trials(pass, texts.choose, journal, {.threads = threads, .progress = progress}),
      fitter(pass, texts.fit, none, {.threads = threads}),
      second(pass, texts.second, none, {.threads = threads});
  if (texts.second.empty()) {
    choice.notes.push_back("No second text was given: maps were judged on the text of their fit.");
  }
  SKIPSTONE_RETURN_IF_ERROR(
      Chooser(options, plan, model, pass,
              {.choose = trials, .fit = fitter, .second = texts.second.empty() ? nullptr : &second},
              say)
          .Run(texts.choose, &choice));
  return choice;
}

}  // namespace skipstone::calibrate
