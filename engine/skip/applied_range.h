// A skip set and since when it is in force: sets change while a sequence runs if layers are shed.
#pragma once

#include "engine/skip/skip_set.h"

namespace skipstone {

struct AppliedRange {
  int from_token = 0;  // index of the first generated token under `skip`
  SkipSet skip;
};

}  // namespace skipstone
