// Results that took long, kept in a file as they are made, so that an interrupted run goes on to
// the same bits.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace skipstone::quality {

// One thread.
class Journal {
 public:
  Journal() = default;  // keeps nothing

  // `run` says what the results depend on (one line): a journal of another run is refused with
  // FAILED_PRECONDITION. A torn last line is dropped. An empty path keeps nothing.
  static absl::StatusOr<Journal> Open(const std::string& path, const std::string& run);

  // Null if there is no such result.
  const std::vector<double>* Find(uint64_t key) const;
  absl::Status Add(uint64_t key, const std::vector<double>& values);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::map<uint64_t, std::vector<double>> results_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace skipstone::quality
