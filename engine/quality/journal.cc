#include "engine/quality/journal.h"

#include <cstdlib>
#include <fstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace skipstone::quality {
namespace {

// "KEY COUNT VALUE...", hexadecimal floats: to the bit. The count tells a line that was cut.
bool ParseLine(const std::string& line, uint64_t* key, std::vector<double>* values) {
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  size_t count = 0;
  if (words.size() < 2 || !absl::SimpleHexAtoi(words[0], key) ||
      !absl::SimpleAtoi(words[1], &count) || words.size() != count + 2) {
    return false;
  }
  values->clear();
  for (size_t i = 2; i < words.size(); ++i) {
    char* end = nullptr;
    values->push_back(std::strtod(words[i].c_str(), &end));
    if (end == words[i].c_str() || *end != '\0') return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<Journal> Journal::Open(const std::string& path, const std::string& run) {
  Journal journal;
  if (path.empty()) return journal;
  std::string kept = run + "\n";
  if (std::ifstream in(path); in) {
    std::string line;
    if (std::getline(in, line) && line != run) {
      return absl::FailedPreconditionError(
          absl::StrFormat("%s is the journal of another run (%s; this one: %s): delete it, or name "
                          "another",
                          path, line, run));
    }
    uint64_t key = 0;
    std::vector<double> values;
    // The last line counts only with its end.
    while (std::getline(in, line) && !in.eof() && ParseLine(line, &key, &values)) {
      journal.results_[key] = values;
      kept += line + "\n";
    }
  }
  journal.file_.reset(std::fopen(path.c_str(), "w"));
  if (!journal.file_ || std::fputs(kept.c_str(), journal.file_.get()) < 0 ||
      std::fflush(journal.file_.get()) != 0) {
    return absl::InternalError(absl::StrFormat("%s cannot be written", path));
  }
  return journal;
}

const std::vector<double>* Journal::Find(uint64_t key) const {
  const auto found = results_.find(key);
  return found == results_.end() ? nullptr : &found->second;
}

absl::Status Journal::Add(uint64_t key, const std::vector<double>& values) {
  if (!file_) return absl::OkStatus();
  std::string line = absl::StrFormat("%016x %d", key, values.size());
  for (const double value : values) line += absl::StrFormat(" %a", value);
  line += "\n";
  if (std::fputs(line.c_str(), file_.get()) < 0 || std::fflush(file_.get()) != 0) {
    return absl::InternalError("the journal cannot be written");
  }
  results_[key] = values;
  return absl::OkStatus();
}

}  // namespace skipstone::quality
