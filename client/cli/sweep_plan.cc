#include "client/cli/sweep_plan.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/status.h"
#include "client/cli/skip_flag.h"
#include "client/cli/text_scorer.h"
#include "client/cli/text_tokenizer.h"

namespace skipstone::client {
namespace {

using Json = nlohmann::json;

absl::Status Named(const std::string& what, const absl::Status& status) {
  return {status.code(), what + ": " + std::string(status.message())};
}

// What the server makes of it: the shortest text there is, scored.
absl::StatusOr<SweptSkip> Resolve(const Client& client, const CallOptions& options,
                                  const std::string& text) {
  SweptSkip swept{.name = text, .skip = SkipFromText(text)};
  v1::ScoreRequest request;
  for (const uint32_t id : {0, 1}) {
    if (request.items().empty()) request.add_items();
    request.mutable_items(0)->mutable_prompt()->mutable_token_ids()->add_ids(id);
  }
  *request.mutable_skip() = swept.skip;
  const auto response = client.Score(request, options);
  if (!response.ok()) {
    return Named(absl::StrFormat("--skips \"%s\"", text), response.status());
  }
  swept.spec = response->applied_skip().spec();
  return swept;
}

bool IsFull(const SweptSkip& swept) { return swept.spec == "none"; }

absl::Status ResolveSkips(const Client& client, const CallOptions& options,
                          std::vector<std::string> texts, SweepPlan& plan) {
  const auto& levels = plan.model.levels();
  if (texts.empty()) {
    for (const v1::Level& level : levels) texts.push_back(level.name());
    if (texts.size() < 2) {
      return absl::InvalidArgumentError(
          "--skips: the server offers no levels to compare; name some, such as "
          "'attn:last=25%;attn:last=50%'");
    }
  }
  for (const std::string& text : texts) {
    SKIPSTONE_ASSIGN_OR_RETURN(SweptSkip swept, Resolve(client, options, text));
    plan.skips.push_back(std::move(swept));
  }
  auto full = std::find_if(plan.skips.begin(), plan.skips.end(), IsFull);
  if (full == plan.skips.end()) {
    // A policy may allow no sets but those that have a name.
    const auto named = std::find_if(levels.begin(), levels.end(),
                                    [](const v1::Level& level) { return level.spec() == "none"; });
    SKIPSTONE_ASSIGN_OR_RETURN(
        SweptSkip swept, Resolve(client, options, named == levels.end() ? "none" : named->name()));
    full = plan.skips.insert(plan.skips.end(), std::move(swept));
  }
  std::rotate(plan.skips.begin(), full, full + 1);
  return absl::OkStatus();
}

// Without special tokens.
absl::StatusOr<std::vector<uint32_t>> IdsOf(const Client& client, const CallOptions& options,
                                            const quality::TextOrIds& text) {
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&text); ids != nullptr) {
    return std::vector<uint32_t>(ids->begin(), ids->end());
  }
  return TextTokenizer(client, options).Tokenize(std::get<std::string>(text));
}

absl::Status CutText(const Client& client, const CallOptions& options, SweepPlan& plan) {
  if (!plan.files.text) return absl::OkStatus();
  const auto ids = IdsOf(client, options, *plan.files.text);
  if (!ids.ok()) return Named("--text", ids.status());
  std::optional<uint32_t> bos;
  if (plan.model.has_bos_token_id()) bos = plan.model.bos_token_id();
  const uint32_t window = plan.settings.window;
  if (window < 2) return absl::InvalidArgumentError("--text: the model's context is too short");
  const size_t step = window - (bos ? 1 : 0);
  const size_t windows = std::min<size_t>(
      ids->size() / step, plan.settings.items.value_or(std::numeric_limits<uint32_t>::max()));
  if (windows == 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--text: its %d tokens are less than a window of %d; give a longer text or "
                        "a smaller --window",
                        ids->size(), window));
  }
  plan.windows = CutIntoWindows({ids->begin(), ids->begin() + windows * step}, bos, window);
  return absl::OkStatus();
}

absl::Status TokenizePrompts(const Client& client, const CallOptions& options, SweepPlan& plan) {
  for (const quality::PromptItem& item : plan.files.prompts) {
    if (const auto* ids = std::get_if<std::vector<int32_t>>(&item.prompt); ids != nullptr) {
      plan.prompts.push_back(plan.BehindBos(*ids));
      continue;
    }
    v1::TokenizeRequest request;
    request.set_text(std::get<std::string>(item.prompt));
    const auto response = client.Tokenize(request, options);
    if (!response.ok()) {
      return Named(quality::LineName("--prompts", item.line), response.status());
    }
    plan.prompts.emplace_back(response->ids().begin(), response->ids().end());
  }
  return absl::OkStatus();
}

Json JsonOf(const quality::TextOrIds& value) {
  return std::visit([](const auto& holder) { return Json(holder); }, value);
}

Json InputsOf(const SweepPlan& plan) {
  Json inputs;
  for (const v1::ScoreItem& window : plan.windows) {
    const auto& ids = window.prompt().token_ids().ids();
    inputs["text"].push_back(std::vector<uint32_t>(ids.begin(), ids.end()));
  }
  for (const quality::ChoiceItem& item : plan.files.choices) {
    Json choices;
    for (const quality::TextOrIds& choice : item.choices) choices.push_back(JsonOf(choice));
    inputs["choices"].push_back({JsonOf(item.context), choices, item.characters, item.gold});
  }
  for (const quality::LastWordItem& item : plan.files.last_words) {
    inputs["last_words"].push_back({JsonOf(item.context), JsonOf(item.continuation)});
  }
  inputs["prompts"] = plan.prompts;
  return inputs;
}

}  // namespace

size_t SweepPlan::Items(SweepTask task) const {
  switch (task) {
    case SweepTask::kSpeed:
      return settings.speed_runs;
    case SweepTask::kText:
      return windows.size();
    case SweepTask::kChoices:
      return files.choices.size();
    case SweepTask::kLastWords:
      return files.last_words.size();
    case SweepTask::kGeneration:
      return prompts.size();
  }
  return 0;
}

std::vector<SweepKey> SweepPlan::Keys() const {
  std::vector<SweepKey> keys;
  for (const SweepTask task : {SweepTask::kSpeed, SweepTask::kText, SweepTask::kChoices,
                               SweepTask::kLastWords, SweepTask::kGeneration}) {
    for (size_t item = 0; item < Items(task); ++item) {
      for (size_t skip = 0; skip < skips.size(); ++skip) {
        keys.push_back({task, static_cast<int>(item), static_cast<int>(skip)});
      }
    }
  }
  return keys;
}

std::vector<uint32_t> SweepPlan::BehindBos(const std::vector<int32_t>& ids) const {
  std::vector<uint32_t> all;
  if (model.has_bos_token_id()) all.push_back(model.bos_token_id());
  all.insert(all.end(), ids.begin(), ids.end());
  return all;
}

bool SweepPlan::Fits(const SweepKey& key, const SweepResult& result) const {
  if (key.item < 0 || static_cast<size_t>(key.item) >= Items(key.task)) return false;
  if (key.skip < 0 || static_cast<size_t>(key.skip) >= skips.size()) return false;
  const auto* choices = std::get_if<ChoicesResult>(&result);
  return choices == nullptr ||
         choices->loglikelihood.size() == files.choices[key.item].choices.size();
}

Json SweepPlan::Header() const {
  Json levels = Json::array();
  for (const v1::Level& level : model.levels()) levels.push_back({level.name(), level.spec()});
  Json swept = Json::array();
  for (const SweptSkip& skip : skips) swept.push_back({skip.name, skip.spec});
  const std::string inputs = InputsOf(*this).dump(-1, ' ', false, Json::error_handler_t::replace);
  return {{"format", 1},
          {"model", model.model_fingerprint()},
          {"backend", model.backend()},
          {"levels", levels},
          {"skips", swept},
          {"inputs", absl::StrFormat("%016x", Fnv1a64(inputs))},
          {"max_tokens", settings.max_tokens},
          {"speed_tokens", settings.speed_tokens},
          {"speed_runs", settings.speed_runs}};
}

absl::StatusOr<SweepPlan> MakeSweepPlan(const Client& client, const CallOptions& options,
                                        const std::vector<std::string>& skips, SweepFiles files,
                                        const SweepSettings& settings) {
  SweepPlan plan{.settings = settings, .files = std::move(files)};
  SKIPSTONE_ASSIGN_OR_RETURN(plan.model, client.GetModel(options));
  const uint32_t context = plan.model.max_context_tokens();
  plan.settings.window = std::min(settings.window, context);
  // Room for the continuation.
  plan.settings.speed_tokens =
      std::min(settings.speed_tokens, context - std::min(context - 1, settings.max_tokens));
  SKIPSTONE_RETURN_IF_ERROR(ResolveSkips(client, options, skips, plan));
  SKIPSTONE_RETURN_IF_ERROR(CutText(client, options, plan));
  SKIPSTONE_RETURN_IF_ERROR(TokenizePrompts(client, options, plan));
  return plan;
}

}  // namespace skipstone::client
