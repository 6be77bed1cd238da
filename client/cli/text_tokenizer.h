// Tokenises a text of any length, by several calls where one would be too large.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"

namespace skipstone::client {

// The ids are those that one call would give, without special tokens. The text is cut between
// words, and each cut is tried out first: the server must give the same ids in one call and in two
// for the part and what follows it. What a call adds to the front of its text (SentencePiece's
// blank) is taken out or used up by a blank that is left out. Blocks; one thread.
class TextTokenizer {
 public:
  // The server takes up to 1 MiB. Smaller in tests, but more than 1 KiB.
  static constexpr size_t kBytesPerCall = 1'000'000;

  TextTokenizer(const Client& client, const CallOptions& options,
                size_t bytes_per_call = kBytesPerCall)
      : client_(client), options_(options), bytes_per_call_(bytes_per_call) {}

  // Errors: those of the calls; INVALID_ARGUMENT naming the place where no cut can be found.
  absl::StatusOr<std::vector<uint32_t>> Tokenize(std::string_view text) const;

 private:
  using Ids = std::vector<uint32_t>;
  // The one call takes what lies before `end`, the next what begins at `next`, without the first
  // `surplus` ids of its answer.
  struct Cut {
    size_t end = 0;
    size_t next = 0;
    size_t surplus = 0;
  };

  absl::StatusOr<Ids> Call(std::string_view text) const;
  absl::StatusOr<Cut> FindCut(std::string_view text, size_t begin) const;
  // A cut at `end` that keeps the ids of what begins at `begin`; one at 0 if there is none.
  absl::StatusOr<Cut> TryCut(std::string_view text, size_t begin, size_t end) const;

  const Client& client_;
  const CallOptions& options_;
  const size_t bytes_per_call_;
};

}  // namespace skipstone::client
