// `skipstone info`: what a server serves, and how busy it is.
#include <memory>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/table.h"
#include "client/cli/command.h"
#include "client/cli/proto_json.h"
#include "client/client.h"

namespace skipstone::client {
namespace {

void PrintModel(const v1::GetModelResponse& model, std::ostream& out) {
  Table table({});
  table.AddRow({"model", absl::StrFormat("%s (%s, fingerprint %s)", model.model_name(),
                                         model.weight_type(), model.model_fingerprint())});
  table.AddRow({"server", absl::StrFormat("%s, backend %s", model.build(), model.backend())});
  table.AddRow(
      {"shape", absl::StrFormat("%d layers, hidden %d, %d heads, %d KV heads of %d, ffn %d, "
                                "vocabulary %d, context %d",
                                model.num_layers(), model.hidden_size(), model.num_heads(),
                                model.num_kv_heads(), model.head_dim(), model.ffn_size(),
                                model.vocab_size(), model.max_context_tokens())});
  table.AddRow({"limits", absl::StrFormat(
                              "%d sequences, %d queued of %d prompt tokens, %d rows of work a step",
                              model.max_sequences(), model.max_queue(), model.max_queue_tokens(),
                              model.max_batch_tokens())});
  table.AddRow(
      {"skips",
       absl::StrFormat("default %s, custom specs %s, at most %d attention "
                       "sublayers skipped and %d windowed",
                       model.default_level(), model.allow_custom_skip() ? "allowed" : "not allowed",
                       model.max_skipped_attention(), model.max_windowed_attention())});
  table.AddRow({"windows", absl::StrFormat("%d tokens or more, beside the first %d",
                                           model.min_window_tokens(), model.sink_tokens())});
  table.Print(out);
}

void PrintLoad(const v1::GetModelResponse& model, const v1::GetLoadResponse& load,
               std::ostream& out) {
  Table table({});
  table.AddRow({"load", absl::StrFormat("%d running, %d waiting of %d prompt tokens%s",
                                        load.running(), load.waiting(), load.waiting_tokens(),
                                        load.draining() ? ", draining" : "")});
  table.AddRow(
      {"KV pages", absl::StrFormat("%d of %d tokens: %d used, %d cached, %d free",
                                   load.kv_pages_total(), model.page_tokens(), load.kv_pages_used(),
                                   load.kv_pages_cached(), load.kv_pages_free())});
  table.Print(out);
}

std::string Text(const v1::Measured& measured) {
  return absl::StrFormat("%.4g [%.4g, %.4g]", measured.value(), measured.low(), measured.high());
}
std::string Text(bool has, const v1::Measured& measured) { return has ? Text(measured) : "-"; }
std::string Text(bool has, double number) { return has ? absl::StrFormat("%.4g", number) : "-"; }

// Of levels that a levels file describes; with the 95 % intervals.
void PrintQuality(const v1::GetModelResponse& model, std::ostream& out) {
  Table table({"quality of", "KL nats", "perplexity", "agreement", "retention", "choice", "recall",
               "decode ms saved", "pages saved"});
  bool any = false;
  for (const v1::Level& level : model.levels()) {
    const v1::LevelQuality& q = level.quality();
    const bool has = level.has_quality();
    any |= has;
    if (!has && level.family().empty()) continue;
    table.AddRow({level.name(), Text(has, q.kl_nats()), Text(has, q.perplexity()),
                  Text(has, q.agreement()), Text(q.has_retention(), q.retention()),
                  Text(q.has_choice(), q.choice()), Text(q.has_recall(), q.recall()),
                  Text(level.has_decode_ms_saved(), level.decode_ms_saved()),
                  Text(level.has_pages_saved(), level.pages_saved())});
  }
  if (any) {
    out << '\n';
    table.Print(out);
  }
  if (model.levels_measured()) return;
  out << "\nquality is not known: " << model.levels_unmeasured_reason() << '\n';
}

void PrintLevels(const v1::GetModelResponse& model, std::ostream& out) {
  Table levels({"level", "spec", "skipped attention", "windowed attention", "skipped MLP",
                "compensation", "family"});
  for (const v1::Level& level : model.levels()) {
    levels.AddRow({level.name(), level.spec(), std::to_string(level.skipped_attention()),
                   std::to_string(level.windowed_attention()), std::to_string(level.skipped_mlp()),
                   level.has_compensation() ? level.compensation().name() : "-",
                   level.family().empty() ? "-" : level.family()});
  }
  out << '\n';
  levels.Print(out);
  PrintQuality(model, out);
  if (model.experiments().empty()) return;
  Table arms({"experiment", "unit", "arm", "level", "weight"});
  for (const v1::Experiment& experiment : model.experiments()) {
    const std::string name = experiment.name() + (experiment.enabled() ? "" : " (disabled)");
    for (const v1::ExperimentArm& arm : experiment.arms()) {
      arms.AddRow({name, experiment.unit(), arm.name(), arm.level(), FormatNumber(arm.weight())});
    }
  }
  out << '\n';
  arms.Print(out);
}

class InfoCommand : public Command {
 public:
  std::string name() const override { return "info"; }
  std::string summary() const override { return "shows the model, its skip levels and the load"; }
  std::string usage() const override { return "[flags]\n\n  skipstone info --json\n"; }
  absl::Status Run(Io& io) override {
    SKIPSTONE_ASSIGN_OR_RETURN(const auto channel, connection.Connect());
    const Client client(channel);
    SKIPSTONE_ASSIGN_OR_RETURN(const v1::GetModelResponse model, client.GetModel(options));
    SKIPSTONE_ASSIGN_OR_RETURN(const v1::GetLoadResponse load, client.GetLoad(options));
    if (connection.json) {
      PrintJson({{"model", ProtoToJson(model)}, {"load", ProtoToJson(load)}}, io.out);
      return absl::OkStatus();
    }
    PrintModel(model, io.out);
    PrintLoad(model, load, io.out);
    PrintLevels(model, io.out);
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<Command> MakeInfoCommand() { return std::make_unique<InfoCommand>(); }

}  // namespace skipstone::client
