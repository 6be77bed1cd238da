// `skipstone generate`: streams the text of one prompt, under one skip set or several in turn.
#include <chrono>
#include <iterator>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/request_fields.h"
#include "base/status.h"
#include "base/table.h"
#include "client/channel.h"
#include "client/cli/command.h"
#include "client/cli/generation.h"
#include "client/cli/proto_json.h"
#include "client/cli/skip_flag.h"
#include "client/cli/token_ids_flag.h"
#include "client/client.h"
#include "proto/request_field.h"

namespace skipstone::client {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using std::chrono::steady_clock;

// Sets a field of `request`, or clears it where the text is empty.
template <class T>
FlagValue FieldValue(const RequestField& field, v1::GenerateRequest& request,
                     void (Reflection::*set)(Message*, const FieldDescriptor*, T) const) {
  const auto value = std::make_shared<T>();
  FlagValue flag = ValueOf(value.get());
  flag.read = [=, &request, read = flag.read](const std::string& text) {
    if (!text.empty() && !read(text)) return false;
    Message& message = field.In(request);
    const Reflection& reflection = *message.GetReflection();
    reflection.ClearField(&message, field.field);
    if (!text.empty()) (reflection.*set)(&message, field.field, *value);
    return true;
  };
  flag.write = [] { return ""; };
  return flag;
}

// Empty where there is none that could be given.
template <class Group, class T>
std::string DefaultOf(T Group::*member) {
  const T value = Group{}.*member;
  if constexpr (std::is_arithmetic_v<T>) {
    if (static_cast<double>(value) >= 0) return "; default " + absl::UnparseFlag(value);
  }
  return "";
}
std::string DefaultOf(std::nullptr_t) { return ""; }

struct GenerateFlags {
  TokenIdsFlag ids;
  std::string skip;
  std::string ceiling;
  std::vector<std::string> stop;
  v1::GenerateRequest fields;  // those that are one value

  void AddTo(FlagSet& flags);
  // The parts of --skip; one empty text is the server's default.
  std::vector<std::string> Skips() const { return absl::StrSplit(skip, ';'); }
  // All but the prompt and the choice of the skip.
  v1::GenerateRequest ToRequest() const;
};

void GenerateFlags::AddTo(FlagSet& flags) {
  ids.AddTo(flags);
  flags.Add("skip", &skip,
            "level or skip spec, such as attn-33, attn:last=33% or win:last=50%/64; several, "
            "separated by ';', run one after another and are compared");
  flags.Add("ceiling", &ceiling,
            "level or skip spec, a superset of --skip, up to which the server may skip more under "
            "load");
  flags.AddList("stop", &stop, "end before this text; may be repeated");
  ForEachRequestField([&](const std::string& path, auto member, const FieldLimits& limits,
                          const std::string& help) {
    const std::string range = limits.ToText();
    const RequestField field(path);
    flags.Add(path.substr(path.find('.') + 1),
              field.Access([&](auto, auto set) { return FieldValue(field, fields, set); }),
              absl::StrCat(range, range.empty() ? "" : "; ", help,
                           absl::StrContains(help, "default") ? "" : DefaultOf(member)));
  });
}

v1::GenerateRequest GenerateFlags::ToRequest() const {
  v1::GenerateRequest request = fields;
  for (const std::string& text : stop) request.mutable_stopping()->add_stop_strings(text);
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
           "  skipstone generate --skip 'win:last=50%/64' 'In the beginning'\n"
           "  skipstone generate --skip none --ceiling attn:last=50% 'In the beginning'\n"
           "  skipstone generate --ids 1,306,626 --max_tokens 64\n\n"
           "Ids are taken as they are: the beginning-of-sequence token is not added to them.\n";
  }
  void AddFlags(FlagSet& flags) override { flags_.AddTo(flags); }
  absl::Status Prepare(const std::vector<std::string>& arguments) override;
  absl::Status Run(Io& io) override;

 private:
  // The text of a single output is printed as it comes, that of several when all have ended.
  bool streams_text() const { return !connection.json && flags_.fields.n() <= 1; }
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
  SKIPSTONE_ASSIGN_OR_RETURN(const auto channel, connection.Connect());
  const Client client(channel);
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
  Table table({"skip", "tokens", "tokens/s", "TTFT ms", "KV pages used", "windowed", "omitted"});
  auto json = nlohmann::ordered_json::array();
  absl::Status status;
  for (const std::string& skip : flags_.Skips()) {
    v1::GenerateRequest one = request;
    one.mutable_skip()->MergeFrom(SkipFromText(skip));
    one.mutable_cache_salt()->append(skip);  // or the first's prompt pages would help the others
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
                    std::to_string(finished.kv_pages_windowed()),
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
    if (flags_.fields.output().has_logprobs()) PrintLogprobs(output, io.out);
  }
  io.out.flush();
  for (const auto& [index, output] : generation.outputs()) {
    if (output.finished) io.err << generation.SummaryLine(output) << '\n';
  }
}

}  // namespace

std::unique_ptr<Command> MakeGenerateCommand() { return std::make_unique<GenerateCommand>(); }

}  // namespace skipstone::client
