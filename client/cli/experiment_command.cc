// `skipstone experiment report` and `watch`: what exposure logs, or Prometheus, say.
#include <filesystem>
#include <memory>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/experiment/report/report_html.h"
#include "base/experiment/report/report_text.h"
#include "base/replace_file.h"
#include "base/status.h"
#include "client/cli/arm_series.h"
#include "client/cli/command.h"
#include "client/cli/exposure_logs.h"

namespace skipstone::client {
namespace {

namespace fs = std::filesystem;
using experiment::ExposureReport;
using experiment::ReportOptions;

// What both take: logs or Prometheus, and how they are read.
class ReadsLogs : public Command {
 public:
  bool needs_server() const override { return false; }
  void AddFlags(FlagSet& flags) override {
    flags.Add("control", &report_.control,
              "arm that others are compared with; default: the one named control, else the first "
              "by name");
    flags.Add("alpha", InRange(&report_.alpha, 0.0001, 0.5), "of each interval: 0.05 for 95 %");
    flags.Add("tuning", InRange(&report_.tuning, 1, 1e9),
              "units at which the intervals that hold at every look are tightest");
    flags.Add("carry_over", InRange(&report_.carry_over, 0, 100),
              "of a switchback: windows that an arm acts on after its own; 0 where the washout is "
              "longer than that");
    flags.Add("prometheus", &prometheus_.url,
              "URL of a Prometheus that is asked instead of logs; knows neither users nor "
              "agreement, and takes each experiment for a mixed one");
    flags.Add("experiment", &prometheus_.experiment, "with --prometheus: this one alone");
    flags.Add("last", &prometheus_.last, "with --prometheus: of so long until now");
    flags.Add("span", &prometheus_.span,
              "with --prometheus: an arm's traffic of so long is a unit; several times longer than "
              "the scrape interval");
  }
  absl::Status Prepare(const std::vector<std::string>& arguments) override {
    logs_ = arguments;
    if (prometheus_.url.empty()) return CheckLogs(logs_);
    if (logs_.empty()) return prometheus_.Check();
    return absl::InvalidArgumentError("give logs or --prometheus, not both");
  }

 protected:
  absl::StatusOr<ExposureReport> Read() const {
    return prometheus_.url.empty() ? ReadReport(logs_, report_) : ReadReport(prometheus_, report_);
  }

 private:
  std::vector<std::string> logs_;
  PrometheusSource prometheus_;
  ReportOptions report_;
};

class ReportCommand : public ReadsLogs {
 public:
  std::string name() const override { return "experiment report"; }
  std::string summary() const override { return "reports an experiment from exposure logs"; }
  std::string usage() const override {
    return "[flags] LOG... | --prometheus URL\n\n"
           "  skipstone experiment report exposures.jsonl\n"
           "  skipstone experiment report replica-*/exposures.jsonl* --out report\n"
           "  skipstone experiment report --prometheus http://prometheus:9090 --last 24h\n\n"
           "Give the logs of all replicas, rotated ones too. For each experiment and each\n"
           "configuration of it: are the arms' units as many as they should be, what did each arm\n"
           "cost, how far was it from the full model, which requests suffered, and a verdict.\n"
           "Mixed designs compare quality, attributed time and pages, with intervals that hold at\n"
           "every look; switchbacks compare latencies too. --out gets report.txt, report.json and\n"
           "report.html, a page with pictures.\n";
  }
  void AddFlags(FlagSet& flags) override {
    ReadsLogs::AddFlags(flags);
    flags.Add("out", &out_, "folder for the report, made if it is not there");
  }
  absl::Status Run(Io& io) override;

 private:
  std::string out_;
};

absl::Status ReportCommand::Run(Io& io) {
  SKIPSTONE_ASSIGN_OR_RETURN(const ExposureReport report, Read());
  const std::string table = ToTable(report);
  const std::string json = ToJson(report);
  io.out << (connection.json ? json : table);
  if (out_.empty()) return absl::OkStatus();
  std::error_code error;
  fs::create_directories(out_, error);
  if (error) {
    return absl::UnknownError(absl::StrFormat("--out: \"%s\": %s", out_, error.message()));
  }
  const fs::path out = out_;
  SKIPSTONE_RETURN_IF_ERROR(ReplaceFile(out / "report.txt", table));
  SKIPSTONE_RETURN_IF_ERROR(ReplaceFile(out / "report.json", json));
  SKIPSTONE_RETURN_IF_ERROR(ReplaceFile(out / "report.html", ToHtml(report)));
  io.err << "wrote " << (out / "report.html").string() << " and report.txt, report.json\n";
  return absl::OkStatus();
}

class WatchCommand : public ReadsLogs {
 public:
  std::string name() const override { return "experiment watch"; }
  std::string summary() const override { return "prints the verdict again and again"; }
  std::string usage() const override {
    return "[flags] LOG... | --prometheus URL\n\n"
           "  skipstone experiment watch exposures.jsonl --interval 60s\n\n"
           "Reads the logs anew each time and prints one line for each verdict, with the time,\n"
           "until it is interrupted. One may look as often as one likes: the intervals of mixed\n"
           "designs allow for it, those of switchbacks hold at the last look alone.\n";
  }
  void AddFlags(FlagSet& flags) override {
    ReadsLogs::AddFlags(flags);
    flags.Add("interval", &interval_, "between looks, at least 100ms");
    flags.Add("looks", &looks_, "stop after so many; 0: never");
  }
  absl::Status Prepare(const std::vector<std::string>& arguments) override {
    if (interval_ < absl::Milliseconds(100)) {
      return absl::InvalidArgumentError(absl::StrFormat("--interval must be at least 100ms, not %s",
                                                        absl::FormatDuration(interval_)));
    }
    return ReadsLogs::Prepare(arguments);
  }
  absl::Status Run(Io& io) override;

 private:
  absl::Duration interval_ = absl::Seconds(60);
  uint64_t looks_ = 0;
};

absl::Status WatchCommand::Run(Io& io) {
  for (uint64_t look = 1;; ++look) {
    const absl::StatusOr<ExposureReport> report = Read();
    // A log that a rotation has taken away for a moment is there at the next look.
    if (!report.ok() && look == 1) return report.status();
    if (!report.ok()) {
      io.err << std::string(report.status().message()) << '\n';
    } else if (connection.json) {
      io.out << ToJsonLine(*report);
    } else {
      const std::string now = experiment::TimeText(absl::ToUnixMillis(absl::Now()));
      io.out << ToVerdictLines(*report, now + "  ");
    }
    // Whoever read the lines may be gone.
    if (!io.out.flush() || look == looks_) return absl::OkStatus();
    absl::SleepFor(interval_);
  }
}

}  // namespace

std::unique_ptr<Command> MakeExperimentReportCommand() { return std::make_unique<ReportCommand>(); }
std::unique_ptr<Command> MakeExperimentWatchCommand() { return std::make_unique<WatchCommand>(); }

}  // namespace skipstone::client
