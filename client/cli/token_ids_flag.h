// The flag --ids: token ids where a command else takes a text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/flag_set.h"

namespace skipstone::client {

// Decimal ids, parted by commas or white space, in brackets or not. Errors name the position of
// what is no id, counted from 1, and begin with `where`.
absl::StatusOr<std::vector<uint32_t>> ParseTokenIds(const std::string& where,
                                                    const std::string& text);

// One thread.
class TokenIdsFlag {
 public:
  void AddTo(FlagSet& flags);
  bool given() const { return text_.has_value(); }
  // Of what stands on the command line itself; opens no file.
  absl::Status Check() const;
  // Those of the command line, or of the file after '@'. Only if given.
  absl::StatusOr<std::vector<uint32_t>> Read() const;

 private:
  bool in_file() const { return text_->front() == '@'; }

  std::optional<std::string> text_;  // never empty
};

}  // namespace skipstone::client
