// What the step thread tells the output threads.
#pragma once

#include <memory>
#include <variant>

#include "engine/live_request.h"

namespace skipstone {

// Requests are shared by the step thread (whose sequences name them), the output thread (which runs
// their code) and the table of live ids; whichever lets go last frees them.
using LiveRequestPtr = std::shared_ptr<LiveRequest>;

struct OutputEvent {
  LiveRequestPtr request;
  std::variant<Scheduled, Updated, OutputEnded, RequestEnded> what;
};

}  // namespace skipstone
