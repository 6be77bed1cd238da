// `skipstone generate`: streams the text of one prompt, under one skip set or several in turn.
#include <chrono>
#include <iterator>
#include <memory>
#include <optional>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/channel.h"
#include "client/cli/command.h"
#include "client/cli/connection_flags.h"
#include "client/cli/generation.h"
#include "client/cli/skip_flag.h"
#include "client/cli/table.h"
#include "client/client.h"

namespace skipstone::client {
namespace {

using std::chrono::steady_clock;

struct GenerateFlags {
  ConnectionFlags connection;
  std::string skip;
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
  // The parts of --skip, or one empty text: the server's default.
  std::vector<std::string> Skips() const;
  v1::GenerateRequest ToRequest() const;
};

void GenerateFlags::AddTo(FlagSet& flags) {
  connection.AddTo(flags);
  flags.Add("skip", &skip,
            "level or skip spec, such as attn-33 or attn:last=33%; several, separated by ';', run "
            "one after another and are compared");
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

std::vector<std::string> GenerateFlags::Skips() const { return absl::StrSplit(skip, ';'); }

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
  return request;
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
    return "[flags] PROMPT      (PROMPT - reads standard input)\n\n"
           "  skipstone generate --skip attn:last=33% --max_tokens 64 'In the beginning'\n"
           "  skipstone generate --skip attn-33 --temperature 0 --json 'In the beginning'\n";
  }
  void AddFlags(FlagSet& flags) override { flags_.AddTo(flags); }
  absl::Status Run(const std::vector<std::string>& arguments, Io& io) override;

 private:
  // The text of a single output is printed as it comes, that of several when all have ended.
  bool streams_text() const { return !flags_.connection.json && flags_.n.value_or(1) == 1; }
  absl::StatusOr<Generation> GenerateOne(const Client& client, v1::GenerateRequest request,
                                         const CallOptions& options, Io& io) const;
  void Print(const Generation& generation, Io& io) const;
  absl::Status Compare(const Client& client, const v1::GenerateRequest& request,
                       const CallOptions& options, Io& io) const;

  GenerateFlags flags_;
};

absl::Status GenerateCommand::Run(const std::vector<std::string>& arguments, Io& io) {
  if (arguments.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected one PROMPT, got %d arguments; quote it", arguments.size()));
  }
  const auto options = flags_.connection.ToCallOptions();
  if (!options.ok()) return options.status();
  v1::GenerateRequest request = flags_.ToRequest();
  request.set_text(arguments[0] == "-" ? std::string(std::istreambuf_iterator<char>(io.in), {})
                                       : arguments[0]);
  const Client client(flags_.connection.server);
  if (flags_.Skips().size() > 1) return Compare(client, request, *options, io);
  if (!flags_.skip.empty()) *request.mutable_skip() = SkipFromText(flags_.skip);
  const auto generation = GenerateOne(client, std::move(request), *options, io);
  if (!generation.ok()) return generation.status();
  if (flags_.connection.json) io.out << generation->ToJson().dump(2) << '\n';
  return absl::OkStatus();
}

// Prints what came even where the stream broke.
absl::StatusOr<Generation> GenerateCommand::GenerateOne(const Client& client,
                                                        v1::GenerateRequest request,
                                                        const CallOptions& options, Io& io) const {
  Generation generation(steady_clock::now());
  const auto stream = client.GenerateStream(std::move(request), options);
  v1::GenerateEvent event;
  while (stream->Next(event)) {
    generation.Add(event, steady_clock::now());
    if (streams_text()) io.out << event.delta().text() << std::flush;
  }
  if (!flags_.connection.json) Print(generation, io);
  if (!stream->status().ok()) return stream->status();
  return generation;
}

void GenerateCommand::Print(const Generation& generation, Io& io) const {
  for (const auto& [index, output] : generation.outputs()) {
    if (!streams_text()) io.out << absl::StrFormat("[%d] %s", index, output.text);
    io.out << '\n';
    if (flags_.logprobs) PrintLogprobs(output, io.out);
  }
  io.out.flush();
  for (const auto& [index, output] : generation.outputs()) {
    io.err << generation.SummaryLine(output) << '\n';
  }
}

absl::Status GenerateCommand::Compare(const Client& client, const v1::GenerateRequest& request,
                                      const CallOptions& options, Io& io) const {
  Table table({"skip", "tokens", "tokens/s", "TTFT ms", "KV pages used", "omitted"});
  auto json = nlohmann::ordered_json::array();
  for (const std::string& skip : flags_.Skips()) {
    v1::GenerateRequest one = request;
    *one.mutable_skip() = SkipFromText(skip);
    one.set_cache_salt(skip);  // or the later ones would profit from the prompt pages of the first
    if (!flags_.connection.json) io.out << absl::StrFormat("--- %s ---\n", skip);
    const auto generation = GenerateOne(client, std::move(one), options, io);
    if (!generation.ok()) return generation.status();
    json.push_back(generation->ToJson());
    for (const auto& [index, output] : generation->outputs()) {
      table.AddRow({skip, std::to_string(output.finished.usage().completion_tokens()),
                    FormatNumber(output.TokensPerSecond()),
                    FormatNumber(generation->TtftMs(output)),
                    std::to_string(output.finished.kv_pages_used()),
                    std::to_string(output.finished.kv_pages_omitted())});
    }
  }
  if (flags_.connection.json) {
    io.out << json.dump(2) << '\n';
  } else {
    table.Print(io.out << '\n');
  }
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<Command> MakeGenerateCommand() { return std::make_unique<GenerateCommand>(); }

}  // namespace skipstone::client
