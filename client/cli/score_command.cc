// `skipstone score`: log-probability and perplexity of a text.
#include <chrono>
#include <limits>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/read_file.h"
#include "base/status.h"
#include "base/table.h"
#include "client/cli/command.h"
#include "client/cli/progress_line.h"
#include "client/cli/proto_json.h"
#include "client/cli/skip_flag.h"
#include "client/cli/text_scorer.h"
#include "client/cli/token_ids_flag.h"

namespace skipstone::client {
namespace {

using std::chrono::steady_clock;

class ScoreCommand : public Command {
 public:
  std::string name() const override { return "score"; }
  std::string summary() const override { return "log-probability and perplexity of a text"; }
  std::string usage() const override {
    return "[flags] --file F | --ids IDS | TEXT\n\n"
           "  skipstone score --skip attn:last=50% --file valid.txt\n"
           "  skipstone score --skip 'none;attn:last=25%;win:last=50%/64' --file valid.txt\n"
           "  skipstone score --ids 306,626,263\n\n"
           "The text is cut into windows that do not overlap, of min(--window, context) tokens,\n"
           "each begun with the beginning-of-sequence token. A long one takes several calls, each\n"
           "with the deadline of --timeout.\n";
  }
  void AddFlags(FlagSet& flags) override {
    flags.Add("file", &file_, "text to score, UTF-8");
    ids_.AddTo(flags);
    flags.Add("skip", &skip_,
              "level or skip spec, such as attn-33, attn:last=33% or win:last=50%/64; several, "
              "separated by ';', run one after another and are compared");
    flags.Add("window", &window_, "tokens per window; default: the model's context");
    flags.Add("tokens", &tokens_, "print each token's log-probability too");
  }
  absl::Status Prepare(const std::vector<std::string>& arguments) override;
  absl::Status Run(Io& io) override;

 private:
  struct Scored {
    TextScore score;
    double seconds = 0;
    std::vector<v1::Token> tokens;  // with --tokens
  };

  // Under one of the skips, with a progress line.
  absl::StatusOr<Scored> ScoreUnder(const std::string& skip, TextScorer& scorer, Io& io) const;
  absl::StatusOr<TextScore> Score(const std::string& skip, const TextScorer& scorer,
                                  const TextScorer::OnToken& on_token) const;
  void Print(const std::vector<Scored>& all, Io& io) const;

  std::string file_;
  TokenIdsFlag ids_;
  std::string skip_;
  std::optional<uint32_t> window_;
  bool tokens_ = false;
  std::string text_;  // without --file and --ids
};

absl::Status ScoreCommand::Prepare(const std::vector<std::string>& arguments) {
  if (arguments.size() + (file_.empty() ? 0 : 1) + (ids_.given() ? 1 : 0) != 1) {
    return absl::InvalidArgumentError("expected one of --file, --ids and TEXT");
  }
  SKIPSTONE_RETURN_IF_ERROR(ids_.Check());
  if (window_ && *window_ < 2) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--window must be at least 2, not %d", *window_));
  }
  if (!arguments.empty()) text_ = arguments[0];
  return absl::OkStatus();
}

absl::StatusOr<TextScore> ScoreCommand::Score(const std::string& skip_text,
                                              const TextScorer& scorer,
                                              const TextScorer::OnToken& on_token) const {
  const v1::Skip skip = skip_text.empty() ? v1::Skip() : SkipFromText(skip_text);
  const uint32_t window = window_.value_or(std::numeric_limits<uint32_t>::max());
  if (ids_.given()) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::vector<uint32_t> ids, ids_.Read());
    return scorer.ScoreIds(std::move(ids), skip, window, on_token);
  }
  if (file_.empty()) return scorer.Score(text_, skip, window, on_token);
  SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, ReadFile("--file", file_));
  return scorer.Score(text, skip, window, on_token);
}

absl::StatusOr<ScoreCommand::Scored> ScoreCommand::ScoreUnder(const std::string& skip,
                                                              TextScorer& scorer, Io& io) const {
  ProgressLine progress(io.err, io.err_is_terminal);
  const auto start = steady_clock::now();
  auto next_progress = start + progress.interval();
  scorer.SetOnProgress([&](uint64_t done, uint64_t all) {
    const auto now = steady_clock::now();
    if (now < next_progress) return;
    next_progress = now + progress.interval();
    progress.Show(absl::StrFormat("%s%s%.0f s: %d of %d windows", skip, skip.empty() ? "" : ", ",
                                  std::chrono::duration<double>(now - start).count(), done, all));
  });
  Scored scored;
  auto score = Score(skip, scorer, [&](const v1::Token& token) {
    if (tokens_) scored.tokens.push_back(token);
  });
  progress.Finish();
  if (!score.ok()) return score.status();
  scored.score = *std::move(score);
  scored.seconds = std::chrono::duration<double>(steady_clock::now() - start).count();
  return scored;
}

absl::Status ScoreCommand::Run(Io& io) {
  SKIPSTONE_ASSIGN_OR_RETURN(const auto channel, connection.Connect());
  const Client client(channel);
  TextScorer scorer(client, options);
  std::vector<Scored> all;
  absl::Status status;
  const std::vector<std::string> skips = absl::StrSplit(skip_, ';');
  for (const std::string& skip : skips) {
    absl::StatusOr<Scored> scored = ScoreUnder(skip, scorer, io);
    status = scored.status();
    if (!status.ok()) break;
    all.push_back(*std::move(scored));
  }
  // What came before an error is worth having.
  if (!all.empty()) Print(all, io);
  return status;
}

nlohmann::ordered_json JsonOf(const TextScore& score, double seconds,
                              const std::vector<v1::Token>& tokens) {
  nlohmann::ordered_json json = {{"skip", score.skip},
                                 {"tokens", score.scored_tokens},
                                 {"windows", score.windows},
                                 {"window_tokens", score.window_tokens},
                                 {"logprob_sum", score.logprob_sum},
                                 {"nats_per_token", score.NatsPerToken()},
                                 {"perplexity", score.Perplexity()},
                                 {"kv_pages_used", score.kv_pages_used},
                                 {"kv_pages_windowed", score.kv_pages_windowed},
                                 {"kv_pages_omitted", score.kv_pages_omitted},
                                 {"seconds", seconds}};
  for (const v1::Token& token : tokens) json["token_logprobs"].push_back(ProtoToJson(token));
  return json;
}

void PrintTokens(const std::vector<v1::Token>& tokens, std::ostream& out) {
  Table table({"id", "token", "logprob"});
  for (const v1::Token& token : tokens) {
    table.AddRow({std::to_string(token.id()), token.text(), FormatNumber(token.logprob(), 4)});
  }
  table.Print(out);
  out << '\n';
}

// JSON: an object for one skip, else a list of them.
void ScoreCommand::Print(const std::vector<Scored>& all, Io& io) const {
  if (connection.json) {
    auto json = nlohmann::ordered_json::array();
    for (const Scored& one : all) json.push_back(JsonOf(one.score, one.seconds, one.tokens));
    PrintJson(absl::StrContains(skip_, ';') ? json : json[0], io.out);
    return;
  }
  Table table({"skip", "tokens", "windows", "logprob", "nats/token", "perplexity", "KV pages",
               "windowed", "omitted", "tokens/s"});
  for (const auto& [score, seconds, tokens] : all) {
    if (tokens_ && all.size() > 1) io.out << "--- " << score.skip << " ---\n";
    if (tokens_) PrintTokens(tokens, io.out);
    table.AddRow({score.skip, std::to_string(score.scored_tokens),
                  absl::StrFormat("%d x %d", score.windows, score.window_tokens),
                  FormatNumber(score.logprob_sum, 2), FormatNumber(score.NatsPerToken(), 4),
                  FormatNumber(score.Perplexity(), 2), std::to_string(score.kv_pages_used),
                  std::to_string(score.kv_pages_windowed), std::to_string(score.kv_pages_omitted),
                  FormatNumber(score.scored_tokens / seconds, 0)});
  }
  table.Print(io.out);
}

}  // namespace

std::unique_ptr<Command> MakeScoreCommand() { return std::make_unique<ScoreCommand>(); }

}  // namespace skipstone::client
