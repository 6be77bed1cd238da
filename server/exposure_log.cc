#include "server/exposure_log.h"

#include <utility>

#include "base/status.h"
#include "server/rotating_file.h"

namespace skipstone::server {
namespace {

// Some 5000 records without texts: what comes while a volume stalls for a few seconds.
constexpr size_t kMaxQueuedBytes = size_t{4} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<ExposureLog>> ExposureLog::Open(const Settings& settings) {
  if (settings.exposure_log.empty()) return nullptr;
  auto file = std::make_unique<RotatingFile>(settings.exposure_log, settings.exposure_log_bytes,
                                             settings.exposure_log_files);
  SKIPSTONE_RETURN_IF_ERROR(file->Open());
  return std::make_unique<ExposureLog>(std::move(file));
}

ExposureLog::ExposureLog(std::unique_ptr<LineOutput> output)
    : writer_(std::move(output), kMaxQueuedBytes) {}

void ExposureLog::Write(experiment::ExposureRecord record) {
  writer_.Write(experiment::FormatExposure(std::move(record)));
}

}  // namespace skipstone::server
