#include "tools/calibrate/calibrate.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/replace_file.h"
#include "base/status.h"
#include "engine/levels/levels_file.h"
#include "tools/calibrate/choose.h"
#include "tools/calibrate/measure.h"
#include "tools/calibrate/session.h"
#include "tools/calibrate/texts.h"

namespace skipstone::calibrate {
namespace {

// Of each --text, without --held_out.
constexpr double kHeldOutShare = 0.25;
constexpr int kPromptTokens = 32;

struct Inputs {
  uint64_t text_hash = 0;
  ChoiceTexts choice;
  HeldOut held_out;
};

absl::StatusOr<Inputs> ReadInputs(const CalibrateOptions& o, const ModelConfig& config) {
  if (o.text.empty()) return absl::InvalidArgumentError("--text: none is given");
  SKIPSTONE_ASSIGN_OR_RETURN(const auto tokenizer, OpenTokenizer(o.model, config.bos_id));
  const int vocab = config.shape.vocab;
  const std::optional<int32_t> bos = o.bos ? tokenizer->bos_id() : std::nullopt;
  SKIPSTONE_ASSIGN_OR_RETURN(std::vector<Text> texts,
                             ReadTexts("--text", o.text, *tokenizer, vocab));
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<Text> second,
                             ReadTexts("--second_text", o.second_text, *tokenizer, vocab));
  std::vector<Text> held_out;
  if (o.held_out.empty()) {
    held_out = SplitTail(texts, kHeldOutShare);
  } else {
    SKIPSTONE_ASSIGN_OR_RETURN(held_out, ReadTexts("--held_out", o.held_out, *tokenizer, vocab));
  }
  Inputs inputs{.text_hash = HashOf(texts)};
  ChoiceTexts& choice = inputs.choice;
  SKIPSTONE_ASSIGN_OR_RETURN(choice.choose, WindowsOf(texts, o.windows, o.window, bos, o.seed));
  SKIPSTONE_ASSIGN_OR_RETURN(choice.fit, WindowsOf(texts, o.fit_windows, o.window, bos, o.seed));
  if (!second.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(choice.second, WindowsOf(second, o.windows, o.window, bos, o.seed));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(inputs.held_out.windows, WindowsOf(held_out, o.held_out_windows,
                                                                o.held_out_window, bos, o.seed));
  for (int i = 0; i < std::min(o.prompts, o.held_out_windows); ++i) {
    const std::vector<int32_t>& window = inputs.held_out.windows[i];
    const int length = std::min<int>(kPromptTokens, static_cast<int>(window.size()));
    inputs.held_out.prompts.emplace_back(window.begin(), window.begin() + length);
  }
  const ItemRules rules{
      .tokenizer = *tokenizer, .vocab = vocab, .tokens = o.held_out_window, .bos = bos};
  if (!o.last_words.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(inputs.held_out.last_words,
                               LastWordItems(o.last_words, o.items, rules));
  }
  if (!o.choices.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(inputs.held_out.choices, ChoiceItems(o.choices, o.items, rules));
  }
  return inputs;
}

// Views into the choice.
LevelsFile FileOf(const CalibrateOptions& o, const LoadedModel& model, const Inputs& inputs,
                  const Choice& choice) {
  LevelsFile file{.model_fingerprint = model.fingerprint,
                  .num_layers = model.config.shape.num_layers,
                  .hidden = model.config.shape.hidden,
                  .ranker = o.ranker,
                  .text_hash = inputs.text_hash,
                  .windows = o.windows,
                  .window = o.window,
                  .seed = o.seed};
  for (const ChosenLevel& chosen : choice.levels) {
    CalibratedLevel level{.name = chosen.name,
                          .skip = chosen.level.skip,
                          .family = chosen.family,
                          .compensation = chosen.compensation};
    for (const auto& [point, map] : chosen.level.fitted) {
      const int layer = point / 2;
      const bool attention = point == quality::AttentionPoint(layer);
      const MapTensors tensors = quality::TensorsOf(*map, file.hidden);
      level.maps.push_back({layer, attention ? Sublayer::kAttention : Sublayer::kMlp, tensors});
      if (attention) {
        level.skip.MapAttention(layer, FingerprintOf(tensors));
      } else {
        level.skip.MapMlp(layer, FingerprintOf(tensors));
      }
    }
    file.levels.push_back(std::move(level));
  }
  return file;
}

Measured MeasuredOf(const quality::Interval& interval) {
  return {interval.value, interval.low, interval.high};
}

void SetQuality(const quality::LevelRow& full, const quality::LevelRow& row,
                CalibratedLevel* level) {
  LevelQuality quality{.kl = MeasuredOf(*row.kl),
                       .perplexity = MeasuredOf(*row.perplexity),
                       .agreement = MeasuredOf(*row.agreement)};
  if (row.retention) quality.retention = MeasuredOf(*row.retention);
  if (row.choice) quality.choice = MeasuredOf(*row.choice);
  if (row.recall) quality.recall = MeasuredOf(*row.recall);
  level->quality = quality;
  level->decode_ms_saved = *full.decode_ms - *row.decode_ms;
  level->pages_saved = *full.pages - *row.pages;
}

// Why a compensated level is worse than the same set without maps; empty if it is not.
std::string Harm(const quality::LevelRow& plain, const quality::LevelRow& mapped) {
  if (mapped.kl->value >= plain.kl->value) {
    return absl::StrFormat("KL %.3f instead of %.3f", mapped.kl->value, plain.kl->value);
  }
  using Row = quality::LevelRow;
  constexpr std::pair<const char*, std::optional<quality::Interval> Row::*> kWork[] = {
      {"recall", &Row::recall}, {"choice", &Row::choice}, {"retention", &Row::retention}};
  for (const auto& [name, work] : kWork) {
    const auto& with = mapped.*work;
    const auto& without = plain.*work;
    if (with && with->high < without->low) {
      return absl::StrFormat("%s %.3f instead of %.3f", name, with->value, without->value);
    }
  }
  return "";
}

// Maps that lose on any work are not offered. The plain set stands before its compensated ones.
void DropHarmful(const std::vector<quality::LevelRow>& rows, LevelsFile* file,
                 std::vector<std::string>* notes) {
  std::vector<CalibratedLevel> kept;
  size_t plain = 0;
  for (size_t i = 0; i < file->levels.size(); ++i) {
    const bool mapped = !file->levels[i].compensation.empty();
    if (!mapped) plain = i;
    const std::string harm = mapped ? Harm(rows[plain + 1], rows[i + 1]) : "";
    if (harm.empty()) {
      kept.push_back(std::move(file->levels[i]));
    } else {
      notes->push_back(
          absl::StrFormat("%s is not in the levels file: %s.", rows[i + 1].name, harm));
    }
  }
  file->levels = std::move(kept);
}

std::string JournalRun(const CalibrateOptions& o, const LoadedModel& model, const Inputs& inputs) {
  return absl::StrFormat(
      "skipstone-calibrate 1 model=%016x text=%016x windows=%d window=%d bos=%d "
      "seed=%d",
      model.fingerprint, inputs.text_hash, o.windows, o.window, o.bos, o.seed);
}

}  // namespace

absl::Status Calibrate(const CalibrateOptions& options, std::ostream& out, std::ostream& progress) {
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const Say say = [&](const std::string& text) {
    progress << (terminal ? "\r\033[K" : "") << text << (terminal ? "" : "\n") << std::flush;
  };
  const std::string base(absl::StripSuffix(options.out, ".yaml"));
  const std::string page = options.report.empty() ? base + ".html" : options.report;
  const std::string journal_path =
      options.journal.empty() ? options.out + ".journal" : options.journal;

  SKIPSTONE_ASSIGN_OR_RETURN(const auto model, OpenForCalibration(options, nullptr));
  const ModelShape& shape = model->loaded.config.shape;
  SKIPSTONE_ASSIGN_OR_RETURN(const CalibratePlan plan,
                             PlanOf(options, shape.num_layers, shape.hidden));
  SKIPSTONE_ASSIGN_OR_RETURN(const Inputs inputs, ReadInputs(options, model->loaded.config));
  SKIPSTONE_ASSIGN_OR_RETURN(
      quality::Journal journal,
      quality::Journal::Open(journal_path, JournalRun(options, model->loaded, inputs)));
  SKIPSTONE_ASSIGN_OR_RETURN(const auto pass, MakePass(options, *model, options.window));
  SKIPSTONE_ASSIGN_OR_RETURN(Choice choice,
                             Choose(options, plan, *model, *pass, inputs.choice, journal, say));

  LevelsFile file = FileOf(options, model->loaded, inputs, choice);
  std::vector<ChosenLevel> measured = choice.levels;
  std::vector<SkipSet> sets;
  for (const CalibratedLevel& level : file.levels) sets.push_back(level.skip);
  for (const ChosenLevel& level : choice.compared) {
    measured.push_back(level);
    sets.push_back(level.level.skip);
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<quality::LevelRow> rows,
                             Measure(options, file, measured, sets, inputs.held_out, say));
  for (size_t i = 0; i < file.levels.size(); ++i) SetQuality(rows[0], rows[i + 1], &file.levels[i]);
  DropHarmful(rows, &file, &choice.notes);
  SKIPSTONE_RETURN_IF_ERROR(WriteLevelsFile(file, options.out));

  quality::LevelReport report{.title = "Levels of " + options.model,
                              .model = absl::StrFormat("%s, %d layers, hidden %d", options.model,
                                                       shape.num_layers, shape.hidden),
                              .notes = choice.notes,
                              .rows = rows};
  report.notes.push_back(absl::StrFormat(
      "Chosen by %s on %d windows of %d tokens, measured on %d windows of %d tokens of other text.",
      options.ranker, options.windows, options.window, options.held_out_windows,
      options.held_out_window));
  SKIPSTONE_RETURN_IF_ERROR(ReplaceFile(page, ToHtml(report)));
  SKIPSTONE_RETURN_IF_ERROR(
      ReplaceFile(std::string(absl::StripSuffix(page, ".html")) + ".json", ToJson(report)));
  say("");
  out << ToTable(report);
  if (options.journal.empty()) std::remove(journal_path.c_str());
  return absl::OkStatus();
}

}  // namespace skipstone::calibrate
