// `skipstone generate`: streams the text of one prompt, under one skip set or several in turn.
#include <chrono>
#include <iterator>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "client/cli/command.h"
#include "client/cli/generation.h"
#include "client/cli/proto_json.h"
#include "client/cli/skip_flag.h"
#include "client/cli/table.h"
#include "client/cli/token_ids_flag.h"
#include "client/client.h"

namespace skipstone::client {
namespace {

using std::chrono::steady_clock;

struct GenerateFlags {
  TokenIdsFlag ids;
  std::string skip;
  std::string ceiling;
  std::optional<uint32_t> max_tokens;
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<uint32_t> top_k;
  std::optional<float> min_p;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  std::optional<uint32_t> logprobs;
  std::optional<uint32_t> n;
  bool ignore_eos = false;
  std::string experiment_key;

  void AddTo(FlagSet& flags);
  // The parts of --skip; one empty text is the server's default.
  std::vector<std::string> Skips() const { return absl::StrSplit(skip, ';'); }
  // All but the prompt and the choice of the skip.
  v1::GenerateRequest ToRequest() const;
};

void GenerateFlags::AddTo(FlagSet& flags) {
  ids.AddTo(flags);
  flags.Add("skip", &skip,
            "level or skip spec, such as attn-33 or attn:last=33%; several, separated by ';', run "
            "one after another and are compared");
  flags.Add("ceiling", &ceiling,
            "level or skip spec, a superset of --skip, up to which the server may skip more under "
            "load");
  flags.Add("max_tokens", &max_tokens, "default: until the context is full");
  flags.Add("temperature", &temperature, "0 to 2, 0 is greedy; default 1");
  flags.Add("top_p", &top_p, "(0, 1]; default 1");
  flags.Add("top_k", &top_k, "0: all; default 0");
  flags.Add("min_p", &min_p, "0 to 1, relative to the likeliest token; default 0");
  flags.Add("seed", &seed, "default: drawn by the server");
  flags.AddList("stop", &stop, "end before this text; may be repeated");
  flags.Add("logprobs", &logprobs, "print each token's log-probability and N alternatives");
  flags.Add("n", &n, "outputs, 1 to 16; default 1");
  flags.Add("ignore_eos", &ignore_eos, "go on after an end-of-sequence token");
  flags.Add("experiment_key", &experiment_key, "unit of assignment for experiments that use it");
}

v1::GenerateRequest GenerateFlags::ToRequest() const {
  v1::GenerateRequest request;
  v1::Sampling& sampling = *request.mutable_sampling();
  if (temperature) sampling.set_temperature(*temperature);
  if (top_p) sampling.set_top_p(*top_p);
  if (top_k) sampling.set_top_k(*top_k);
  if (min_p) sampling.set_min_p(*min_p);
  if (seed) sampling.set_seed(*seed);
  v1::Stopping& stopping = *request.mutable_stopping();
  if (max_tokens) stopping.set_max_tokens(*max_tokens);
  for (const std::string& text : stop) stopping.add_stop_strings(text);
  if (ignore_eos) stopping.set_ignore_eos(true);
  if (logprobs) request.mutable_output()->set_logprobs(*logprobs);
  if (n) request.set_n(*n);
  request.set_experiment_key(experiment_key);
  if (!ceiling.empty()) *request.mutable_skip()->mutable_adaptive() = CeilingFromText(ceiling);
  return request;
}

// "30 7 512": all that a model without text has to show.
std::string IdsOf(const std::vector<v1::Token>& tokens) {
  return absl::StrJoin(tokens, " ", [](std::string* out, const v1::Token& token) {
    absl::StrAppend(out, token.id());
  });
}

void PrintLogprobs(const GeneratedOutput& output, std::ostream& out) {
  Table table({"id", "token", "logprob", "alternatives"});
  for (const v1::Token& token : output.tokens) {
    std::string top;
    for (const v1::TopToken& other : token.top()) {
      absl::StrAppendFormat(&top, "%s%s %.3f", top.empty() ? "" : "  ", other.text(),
                            other.logprob());
    }
    table.AddRow({std::to_string(token.id()), token.text(),
                  token.has_logprob() ? FormatNumber(token.logprob(), 4) : "-", top});
  }
  table.Print(out);
}

class GenerateCommand : public Command {
 public:
  std::string name() const override { return "generate"; }
  std::string summary() const override { return "streams the text generated for a prompt"; }
  std::string usage() const override {
    return "[flags] PROMPT | --ids IDS      (PROMPT - reads standard input)\n\n"
           "  skipstone generate --skip attn:last=33% --max_tokens 64 'In the beginning'\n"
           "  skipstone generate --skip attn-33 --temperature 0 --json 'In the beginning'\n"
           "  skipstone generate --skip 'none;attn:last=25%;attn:last=50%' 'In the beginning'\n"
           "  skipstone generate --skip none --ceiling attn:last=50% 'In the beginning'\n"
           "  skipstone generate --ids 1,306,626 --max_tokens 64\n\n"
           "Ids are taken as they are: the beginning-of-sequence token is not added to them.\n";
  }
  void AddFlags(FlagSet& flags) override { flags_.AddTo(flags); }
  absl::Status Prepare(const std::vector<std::string>& arguments) override;
  absl::Status Run(Io& io) override;

 private:
  // The text of a single output is printed as it comes, that of several when all have ended.
  bool streams_text() const { return !connection.json && flags_.n.value_or(1) == 1; }
  // Prints what came, even where the stream broke.
  absl::Status Generate(const Client& client, v1::GenerateRequest request, Generation& generation,
                        Io& io) const;
  // One after the other until one fails; what came until then is printed all the same.
  absl::Status Compare(const Client& client, const v1::GenerateRequest& request, Io& io) const;
  void Print(const Generation& generation, Io& io) const;

  GenerateFlags flags_;
  std::string prompt_;
};

absl::Status GenerateCommand::Prepare(const std::vector<std::string>& arguments) {
  if (arguments.size() + (flags_.ids.given() ? 1 : 0) != 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected one PROMPT or --ids, got %d arguments%s; quote a PROMPT",
                        arguments.size(), flags_.ids.given() ? " and --ids" : ""));
  }
  SKIPSTONE_RETURN_IF_ERROR(flags_.ids.Check());
  if (!arguments.empty()) prompt_ = arguments[0];
  return absl::OkStatus();
}

absl::Status GenerateCommand::Run(Io& io) {
  v1::GenerateRequest request = flags_.ToRequest();
  if (flags_.ids.given()) {
    SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, flags_.ids.Read());
    request.mutable_token_ids()->mutable_ids()->Add(ids.begin(), ids.end());
  } else {
    request.set_text(prompt_ == "-" ? std::string(std::istreambuf_iterator<char>(io.in), {})
                                    : prompt_);
  }
  const Client client(connection.server);
  if (flags_.Skips().size() > 1) return Compare(client, request, io);
  if (!flags_.skip.empty()) request.mutable_skip()->MergeFrom(SkipFromText(flags_.skip));
  Generation generation(steady_clock::now());
  const absl::Status status = Generate(client, std::move(request), generation, io);
  if (connection.json && !generation.outputs().empty()) {
    PrintJson(generation.ToJson(), io.out);
  }
  return status;
}

absl::Status GenerateCommand::Generate(const Client& client, v1::GenerateRequest request,
                                       Generation& generation, Io& io) const {
  const auto stream = client.GenerateStream(std::move(request), options);
  v1::GenerateEvent event;
  while (stream->Next(event)) {
    generation.Add(event, steady_clock::now());
    if (streams_text()) io.out << event.delta().text() << std::flush;
  }
  if (!connection.json) Print(generation, io);
  return stream->status();
}

absl::Status GenerateCommand::Compare(const Client& client, const v1::GenerateRequest& request,
                                      Io& io) const {
  Table table({"skip", "tokens", "tokens/s", "TTFT ms", "KV pages used", "omitted"});
  auto json = nlohmann::ordered_json::array();
  absl::Status status;
  for (const std::string& skip : flags_.Skips()) {
    v1::GenerateRequest one = request;
    one.mutable_skip()->MergeFrom(SkipFromText(skip));
    one.set_cache_salt(skip);  // or the later ones would profit from the prompt pages of the first
    if (!connection.json) io.out << "--- " << skip << " ---\n";
    Generation generation(steady_clock::now());
    status = Generate(client, std::move(one), generation, io);
    if (!generation.outputs().empty()) json.push_back(generation.ToJson());
    for (const auto& [index, output] : generation.outputs()) {
      if (!output.finished) continue;
      const v1::Finished& finished = *output.finished;
      table.AddRow({skip, std::to_string(finished.usage().completion_tokens()),
                    FormatNumber(output.TokensPerSecond()), FormatNumber(generation.TtftMs(output)),
                    std::to_string(finished.kv_pages_used()),
                    std::to_string(finished.kv_pages_omitted())});
    }
    if (!status.ok()) break;
  }
  if (json.empty()) return status;
  if (connection.json) {
    PrintJson(json, io.out);
  } else {
    table.Print(io.out << '\n');
  }
  return status;
}

void GenerateCommand::Print(const Generation& generation, Io& io) const {
  for (const auto& [index, output] : generation.outputs()) {
    if (!streams_text()) io.out << absl::StrFormat("[%d] %s", index, output.text);
    if (output.text.empty()) io.out << IdsOf(output.tokens);
    io.out << '\n';
    if (flags_.logprobs) PrintLogprobs(output, io.out);
  }
  io.out.flush();
  for (const auto& [index, output] : generation.outputs()) {
    if (output.finished) io.err << generation.SummaryLine(output) << '\n';
  }
}

}  // namespace

std::unique_ptr<Command> MakeGenerateCommand() { return std::make_unique<GenerateCommand>(); }

}  // namespace skipstone::client
