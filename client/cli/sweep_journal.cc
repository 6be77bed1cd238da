#include "client/cli/sweep_journal.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "absl/strings/str_format.h"
#include "base/read_file.h"
#include "base/status.h"

namespace skipstone::client {
namespace {

using Json = nlohmann::json;

absl::Status FileError(const std::string& path) {
  return absl::UnknownError(absl::StrFormat("%s: %s", path, std::strerror(errno)));
}

absl::Status CheckHeader(const std::string& path, const Json& found, const Json& wanted) {
  if (found == wanted) return absl::OkStatus();
  for (const auto& [key, value] : wanted.items()) {
    if (!found.is_object() || !found.contains(key)) break;
    if (found[key] == value) continue;
    return absl::FailedPreconditionError(
        absl::StrFormat("%s was made with another \"%s\": %s there, %s here; give another --out",
                        path, key, found[key].dump(-1, ' ', false, Json::error_handler_t::replace),
                        value.dump(-1, ' ', false, Json::error_handler_t::replace)));
  }
  return absl::FailedPreconditionError(
      absl::StrFormat("%s is no journal of this version's sweep; give another --out", path));
}

// Reads the finished lines of `text` and returns how many bytes they are.
absl::StatusOr<size_t> ReadLines(const std::string& path, std::string_view text, const Json& header,
                                 SweepResults& results) {
  size_t begin = 0;
  for (int line = 1; true; ++line) {
    const size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) return begin;
    const Json json = Json::parse(text.substr(begin, end - begin), nullptr, false);
    if (line == 1) {
      SKIPSTONE_RETURN_IF_ERROR(CheckHeader(path, json, header));
    } else {
      auto result = SweepResultFromJson(json);
      if (!result.ok()) {
        return absl::DataLossError(
            absl::StrFormat("%s: line %d: %s", path, line, std::string(result.status().message())));
      }
      results.insert_or_assign(result->first, std::move(result->second));
    }
    begin = end + 1;
  }
}

}  // namespace

absl::StatusOr<SweepJournal> SweepJournal::Open(const std::string& path, const Json& header,
                                                bool resume, SweepResults& results) {
  SweepJournal journal;
  journal.path_ = path;
  std::error_code error;
  size_t size = 0;
  if (std::filesystem::exists(path, error)) {
    if (!resume) {
      return absl::AlreadyExistsError(absl::StrFormat(
          "%s is of an earlier sweep: go on with it by --resume, or give another --out", path));
    }
    SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, ReadFile("--out", path));
    SKIPSTONE_ASSIGN_OR_RETURN(size, ReadLines(path, text, header, results));
    std::filesystem::resize_file(path, size, error);
    if (error) return absl::UnknownError(absl::StrFormat("%s: %s", path, error.message()));
  }
  journal.file_.reset(std::fopen(path.c_str(), "ab"));
  if (journal.file_ == nullptr) return FileError(path);
  if (size == 0) SKIPSTONE_RETURN_IF_ERROR(journal.WriteLine(header));
  return journal;
}

absl::Status SweepJournal::Append(const SweepKey& key, const SweepResult& result) {
  return file_ == nullptr ? absl::OkStatus() : WriteLine(ToJson(key, result));
}

absl::Status SweepJournal::WriteLine(const Json& json) {
  const std::string line = json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  if (std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size() ||
      std::fflush(file_.get()) != 0) {
    return FileError(path_);
  }
  return absl::OkStatus();
}

}  // namespace skipstone::client
