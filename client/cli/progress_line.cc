#include "client/cli/progress_line.h"

#include "absl/strings/str_format.h"

namespace skipstone::client {

void ProgressLine::Show(const Progress& progress, double elapsed_s) {
  Show(absl::StrFormat("%.0f s: %d sent, %d open, %d done, %d failed, %.0f tokens/s", elapsed_s,
                       progress.sent, progress.open, progress.ok, progress.failed,
                       elapsed_s > 0 ? progress.output_tokens / elapsed_s : 0.0));
}

void ProgressLine::Show(const std::string& text) {
  // \x1b[K clears what a longer line has left.
  out_ << (terminal_ ? "\r" + text + "\x1b[K" : text + "\n") << std::flush;
}

void ProgressLine::Finish() {
  if (terminal_) out_ << "\r\x1b[K" << std::flush;
}

}  // namespace skipstone::client
