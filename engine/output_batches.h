// Who wants to know which calls of sinks come together.
#pragma once

#include <cstddef>

namespace skipstone {

// Called on the output thread whose calls they are, before the first and after the last.
class OutputBatches {
 public:
  virtual ~OutputBatches() = default;
  virtual void OnBatch(size_t events) = 0;
  virtual void OnBatchEnd() = 0;
};

}  // namespace skipstone
