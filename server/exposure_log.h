// The exposure log: a line of JSON for each Generate that ended, or was refused after its
// experiments were known. Lines queue for a thread of their own; where its volume is full or too
// slow they are lost and counted, and serving goes on.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "base/experiment/exposure_record.h"
#include "server/log_writer.h"
#include "server/settings.h"

namespace skipstone::server {

// Thread-safe.
class ExposureLog {
 public:
  // The log that the settings name, null if they name none. UNAVAILABLE: it cannot be opened.
  static absl::StatusOr<std::unique_ptr<ExposureLog>> Open(const Settings& settings);
  explicit ExposureLog(std::unique_ptr<LineOutput> output);

  // Never blocks.
  void Write(experiment::ExposureRecord record);
  // As of LogWriter.
  bool Flush(Duration wait) { return writer_.Flush(wait); }
  LogWriter::Counts counts() const { return writer_.counts(); }

 private:
  LogWriter writer_;
};

}  // namespace skipstone::server
