// `skipstone sweep`: quality and cost of skips against the full model, on a running server.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <mutex>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/quality/level_report.h"
#include "base/replace_file.h"
#include "base/status.h"
#include "client/cli/command.h"
#include "client/cli/parallel_calls.h"
#include "client/cli/progress_line.h"
#include "client/cli/sweep_calls.h"
#include "client/cli/sweep_files.h"
#include "client/cli/sweep_journal.h"
#include "client/cli/sweep_plan.h"
#include "client/cli/sweep_report.h"

namespace skipstone::client {
namespace {

namespace fs = std::filesystem;

class SweepCommand : public Command {
 public:
  std::string name() const override { return "sweep"; }
  std::string summary() const override { return "measures quality and cost of skips"; }
  std::string usage() const override {
    return "[flags] --text F | --choices F | --last_words F | --prompts F\n\n"
           "  skipstone sweep --text valid.txt --out sweep\n"
           "  skipstone sweep --skips 'none;attn:last=25%;win:last=50%/64' --text valid.txt\n"
           "  skipstone sweep --choices arc_easy.jsonl --last_words lambada.jsonl --items 200\n"
           "  skipstone sweep --prompts prompts.txt --max_tokens 64 --out sweep --resume\n\n"
           "Everything is compared with the full model, which is measured in any case. Several\n"
           "kinds of work tell more than one: give all that you have. --out gets report.txt,\n"
           "report.json, report.html and a journal by which --resume goes on after an\n"
           "interruption. Times are taken first, one request at a time: keep other load away.\n";
  }
  void AddFlags(FlagSet& flags) override;
  absl::Status Prepare(const std::vector<std::string>& arguments) override;
  absl::Status Run(Io& io) override;

 private:
  absl::StatusOr<SweepJournal> OpenJournal(const SweepPlan& plan, SweepResults& results) const;
  // Adds to `results` what they lack.
  absl::Status Measure(const Client& client, const SweepPlan& plan, SweepJournal& journal,
                       SweepResults& results, Io& io) const;
  absl::Status Report(const quality::LevelReport& report, Io& io) const;

  std::string skips_;
  SweepPaths paths_;
  SweepSettings settings_;
  uint32_t concurrency_ = 8;
  std::string out_;
  bool resume_ = false;
};

void SweepCommand::AddFlags(FlagSet& flags) {
  flags.Add("skips", &skips_,
            "levels and skip specs, separated by ';', such as 'none;attn-33;win:last=50%/64'; "
            "default: the server's levels");
  flags.Add("text", &paths_.text, "text, UTF-8: perplexity, agreement and calibration");
  flags.Add(
      "choices", &paths_.choices,
      "multiple choice, JSON lines {\"query\": ..., \"choices\": [...], \"gold\": 0}: acc and "
      "acc_norm of each choice after QUERY and a line \"Answer:\"");
  flags.Add(
      "last_words", &paths_.last_words,
      "JSON lines {\"context\": ..., \"continuation\": ...}: whether the continuation is what "
      "greedy decoding gives");
  flags.Add("prompts", &paths_.prompts,
            "one prompt a line: how much of the full model's greedy continuation is kept");
  flags.Add("window", InRange(&settings_.window, 2),
            "tokens per window of --text, at most the context; what is left over is not measured");
  flags.Add("max_tokens", InRange(&settings_.max_tokens, 1), "generated for each prompt");
  flags.Add("items", &settings_.items, "no more than the first so many of each file; default: all");
  flags.Add("speed_runs", InRange(&settings_.speed_runs, 0, 1000),
            "requests per skip whose times are taken");
  flags.Add("speed_tokens", InRange(&settings_.speed_tokens, 1), "of their prompts");
  flags.Add("concurrency", InRange(&concurrency_, 1, 256),
            "calls at once; results do not depend on it");
  flags.Add("out", &out_, "folder for report and journal, made if it is not there");
  flags.Add("resume", &resume_, "go on with the sweep whose journal is in --out");
}

absl::Status SweepCommand::Prepare(const std::vector<std::string>& arguments) {
  SKIPSTONE_RETURN_IF_ERROR(Command::Prepare(arguments));
  if (paths_.text.empty() && paths_.choices.empty() && paths_.last_words.empty() &&
      paths_.prompts.empty()) {
    return absl::InvalidArgumentError(
        "expected at least one of --text, --choices, --last_words and --prompts");
  }
  if (settings_.items && *settings_.items == 0) {
    return absl::InvalidArgumentError("--items must be at least 1, not 0");
  }
  if (resume_ && out_.empty()) return absl::InvalidArgumentError("--resume needs --out");
  for (const auto part : absl::StrSplit(skips_, ';')) {
    if (part.empty() && !skips_.empty()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--skips: there is an empty one in \"%s\"", skips_));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SweepJournal> SweepCommand::OpenJournal(const SweepPlan& plan,
                                                       SweepResults& results) const {
  if (out_.empty()) return SweepJournal();
  std::error_code error;
  fs::create_directories(out_, error);
  if (error) {
    return absl::UnknownError(absl::StrFormat("--out: \"%s\": %s", out_, error.message()));
  }
  return SweepJournal::Open((fs::path(out_) / "journal.jsonl").string(), plan.Header(), resume_,
                            results);
}

absl::Status SweepCommand::Measure(const Client& client, const SweepPlan& plan,
                                   SweepJournal& journal, SweepResults& results, Io& io) const {
  const SweepCalls calls(client, options, plan);
  ProgressLine progress(io.err, io.err_is_terminal);
  std::mutex mutex;
  std::vector<SweepKey> keys = plan.Keys();
  std::erase_if(keys, [&](const SweepKey& key) { return results.count(key) > 0; });
  const auto measure = [&](const SweepKey& key) -> absl::Status {
    SKIPSTONE_ASSIGN_OR_RETURN(SweepResult result, calls.Measure(key));
    std::lock_guard lock(mutex);
    SKIPSTONE_RETURN_IF_ERROR(journal.Append(key, result));
    results.emplace(key, std::move(result));
    return absl::OkStatus();
  };
  const auto others = std::find_if(
      keys.begin(), keys.end(), [](const SweepKey& key) { return key.task != SweepTask::kSpeed; });
  const size_t alone = others - keys.begin();
  SKIPSTONE_RETURN_IF_ERROR(CallInParallel(
      alone, 1, [&](size_t i) { return measure(keys[i]); }, progress));
  return CallInParallel(
      keys.size() - alone, concurrency_, [&](size_t i) { return measure(keys[alone + i]); },
      progress);
}

absl::Status SweepCommand::Report(const quality::LevelReport& report, Io& io) const {
  io.out << (connection.json ? ToJson(report) : ToTable(report));
  if (out_.empty()) return absl::OkStatus();
  const fs::path out = out_;
  SKIPSTONE_RETURN_IF_ERROR(ReplaceFile(out / "report.txt", ToTable(report)));
  SKIPSTONE_RETURN_IF_ERROR(ReplaceFile(out / "report.json", ToJson(report)));
  SKIPSTONE_RETURN_IF_ERROR(ReplaceFile(out / "report.html", ToHtml(report)));
  io.err << "wrote " << (out / "report.html").string() << " and report.txt, report.json\n";
  return absl::OkStatus();
}

absl::Status SweepCommand::Run(Io& io) {
  const size_t items = settings_.items.value_or(std::numeric_limits<uint32_t>::max());
  SKIPSTONE_ASSIGN_OR_RETURN(SweepFiles files, ReadSweepFiles(paths_, items));
  std::vector<std::string> skips;
  if (!skips_.empty()) skips = absl::StrSplit(skips_, ';');
  SKIPSTONE_ASSIGN_OR_RETURN(const auto channel, connection.Connect());
  const Client client(channel);
  SKIPSTONE_ASSIGN_OR_RETURN(const SweepPlan plan,
                             MakeSweepPlan(client, options, skips, std::move(files), settings_));
  SweepResults results;
  SKIPSTONE_ASSIGN_OR_RETURN(SweepJournal journal, OpenJournal(plan, results));
  std::erase_if(results, [&](const auto& item) { return !plan.Fits(item.first, item.second); });
  SKIPSTONE_RETURN_IF_ERROR(Measure(client, plan, journal, results, io));
  return Report(MakeSweepReport(plan, results), io);
}

}  // namespace

std::unique_ptr<Command> MakeSweepCommand() { return std::make_unique<SweepCommand>(); }

}  // namespace skipstone::client
