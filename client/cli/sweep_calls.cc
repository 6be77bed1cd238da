#include "client/cli/sweep_calls.h"

#include <cmath>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/status.h"
#include "client/cli/load_runner.h"

namespace skipstone::client {
namespace {

std::string RandomSalt() {
  std::random_device device;
  return absl::StrFormat("sweep-%08x%08x", device(), device());
}

// To a prompt or continuation of any message.
void AddIds(const auto& ids, auto& to) {
  to.mutable_token_ids()->mutable_ids()->Add(ids.begin(), ids.end());
}

uint32_t Likeliest(const v1::Token& token) {
  return token.top().empty() ? token.id() : token.top(0).id();
}

TextResult TextResultOf(const v1::ScoreResult& scored) {
  TextResult result;
  std::vector<quality::TokenOutcome> outcomes;
  for (const v1::Token& token : scored.tokens()) {
    quality::TokenOutcome& outcome = outcomes.emplace_back();
    outcome.nll = -token.logprob();
    if (!token.top().empty()) {
      outcome.confidence = std::exp(token.top(0).logprob());
      outcome.correct = token.top(0).id() == token.id();
    }
    result.likeliest.push_back(Likeliest(token));
  }
  result.sums = quality::SumOf(outcomes);
  return result;
}

}  // namespace

SweepCalls::SweepCalls(const Client& client, const CallOptions& options, const SweepPlan& plan)
    : client_(client), options_(options), plan_(plan), salt_(RandomSalt()) {}

absl::StatusOr<SweepResult> SweepCalls::Measure(const SweepKey& key) const {
  const SweptSkip& swept = plan_.skips[key.skip];
  std::string what = "times";
  absl::StatusOr<SweepResult> result;
  switch (key.task) {
    case SweepTask::kSpeed:
      result = MeasureSpeed(key.item, swept);
      break;
    case SweepTask::kText:
      what = absl::StrFormat("--text window %d", key.item + 1);
      result = ScoreWindow(key.item, swept);
      break;
    case SweepTask::kChoices:
      what = quality::LineName("--choices", plan_.files.choices[key.item].line);
      result = ScoreChoices(plan_.files.choices[key.item], swept);
      break;
    case SweepTask::kLastWords:
      what = quality::LineName("--last_words", plan_.files.last_words[key.item].line);
      result = ScoreLastWord(plan_.files.last_words[key.item], swept);
      break;
    case SweepTask::kGeneration:
      what = quality::LineName("--prompts", plan_.files.prompts[key.item].line);
      result = ContinueTwice(key.item, swept);
      break;
  }
  if (result.ok()) return result;
  return absl::Status(
      result.status().code(),
      absl::StrFormat("%s, skip %s: %s", what, swept.name, std::string(result.status().message())));
}

// Of texts the server finds the seam and puts the beginning-of-sequence token before them.
void SweepCalls::AddItem(const quality::TextOrIds& context, const quality::TextOrIds& continuation,
                         v1::ScoreRequest& request) const {
  v1::ScoreItem& item = *request.add_items();
  if (const auto* text = std::get_if<std::string>(&context); text != nullptr) {
    item.mutable_prompt()->set_text(*text);
    item.mutable_continuation()->set_text(std::get<std::string>(continuation));
    return;
  }
  AddIds(plan_.BehindBos(std::get<std::vector<int32_t>>(context)), *item.mutable_prompt());
  AddIds(std::get<std::vector<int32_t>>(continuation), *item.mutable_continuation());
}

absl::StatusOr<v1::ScoreResponse> SweepCalls::Score(v1::ScoreRequest request,
                                                    const v1::Skip& skip) const {
  *request.mutable_skip() = skip;
  SKIPSTONE_ASSIGN_OR_RETURN(v1::ScoreResponse response, client_.Score(request, options_));
  if (response.results_size() == request.items_size()) return response;
  return absl::InternalError(absl::StrFormat("%d items were scored, %d answered",
                                             request.items_size(), response.results_size()));
}

absl::StatusOr<SweepResult> SweepCalls::MeasureSpeed(int run, const SweptSkip& swept) const {
  PlannedRequest planned;
  planned.prompt_tokens = static_cast<int>(plan_.settings.speed_tokens);
  planned.output_tokens = static_cast<int>(plan_.settings.max_tokens);
  planned.seed = run;  // the same prompt for all skips
  PromptTokens tokens{.vocab_size = plan_.model.vocab_size()};
  if (plan_.model.has_bos_token_id()) tokens.bos_token_id = plan_.model.bos_token_id();
  v1::GenerateRequest request = MakeLoadRequest(planned, swept.skip, tokens);
  request.set_cache_salt(absl::StrFormat("%s-%d-%016x", salt_, run, Fnv1a64(swept.name)));
  SKIPSTONE_ASSIGN_OR_RETURN(const v1::GenerateResponse response,
                             client_.Generate(request, options_));
  if (response.outputs().empty()) return absl::InternalError("there is no output");
  const v1::Finished& finished = response.outputs(0).finished();
  return SpeedResult{.prefill_ms = finished.timing().prefill_ms(),
                     .decode_ms = finished.timing().decode_ms(),
                     .prompt_tokens = finished.usage().prompt_tokens(),
                     .output_tokens = finished.usage().completion_tokens(),
                     .kv_pages_used = finished.kv_pages_used()};
}

absl::StatusOr<SweepResult> SweepCalls::ScoreWindow(int window, const SweptSkip& swept) const {
  v1::ScoreRequest request;
  *request.add_items() = plan_.windows[window];
  request.set_top_logprobs(1);
  SKIPSTONE_ASSIGN_OR_RETURN(const v1::ScoreResponse response,
                             Score(std::move(request), swept.skip));
  if (response.results(0).tokens().empty()) return absl::InternalError("no token was scored");
  return TextResultOf(response.results(0));
}

absl::StatusOr<SweepResult> SweepCalls::ScoreChoices(const quality::ChoiceItem& item,
                                                     const SweptSkip& swept) const {
  v1::ScoreRequest request;
  for (const quality::TextOrIds& choice : item.choices) AddItem(item.context, choice, request);
  SKIPSTONE_ASSIGN_OR_RETURN(const v1::ScoreResponse response,
                             Score(std::move(request), swept.skip));
  ChoicesResult result;
  for (const v1::ScoreResult& scored : response.results()) {
    result.loglikelihood.push_back(scored.logprob_sum());
  }
  return result;
}

absl::StatusOr<SweepResult> SweepCalls::ScoreLastWord(const quality::LastWordItem& item,
                                                      const SweptSkip& swept) const {
  v1::ScoreRequest request;
  AddItem(item.context, item.continuation, request);
  SKIPSTONE_ASSIGN_OR_RETURN(const v1::ScoreResponse response,
                             Score(std::move(request), swept.skip));
  return LastWordResult{response.results(0).logprob_sum(), response.results(0).greedy()};
}

absl::StatusOr<SweepResult> SweepCalls::ContinueTwice(int prompt, const SweptSkip& swept) const {
  GenerationResult result;
  SKIPSTONE_ASSIGN_OR_RETURN(result.greedy, Continue(prompt, swept, 0));
  SKIPSTONE_ASSIGN_OR_RETURN(result.sampled, Continue(prompt, swept, 1));
  return result;
}

absl::StatusOr<Continuation> SweepCalls::Continue(int prompt, const SweptSkip& swept,
                                                  float temperature) const {
  const std::vector<uint32_t>& prompt_ids = plan_.prompts[prompt];
  v1::GenerateRequest request;
  AddIds(prompt_ids, request);
  *request.mutable_skip() = swept.skip;
  request.mutable_sampling()->set_temperature(temperature);
  request.mutable_sampling()->set_seed(prompt);  // the same for all skips
  request.mutable_stopping()->set_max_tokens(plan_.settings.max_tokens);
  request.mutable_output()->set_token_ids(true);
  SKIPSTONE_ASSIGN_OR_RETURN(const v1::GenerateResponse generated,
                             client_.Generate(request, options_));
  if (generated.outputs().empty()) return absl::InternalError("there is no output");
  Continuation result;
  for (const v1::Token& token : generated.outputs(0).delta().tokens()) {
    result.ids.push_back(token.id());
  }
  if (result.ids.empty()) return result;
  v1::ScoreRequest score;
  AddIds(prompt_ids, *score.add_items()->mutable_prompt());
  AddIds(result.ids, *score.mutable_items(0)->mutable_continuation());
  score.set_top_logprobs(1);
  SKIPSTONE_ASSIGN_OR_RETURN(const v1::ScoreResponse response,
                             Score(std::move(score), plan_.skips[0].skip));
  result.logprob = response.results(0).logprob_sum();
  for (const v1::Token& token : response.results(0).tokens()) {
    result.agrees += Likeliest(token) == token.id();
  }
  return result;
}

}  // namespace skipstone::client
