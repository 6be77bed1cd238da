// Kubernetes' HorizontalPodAutoscaler, which decides how many replicas there are by a number that
// each says of itself
// (https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale).
#pragma once

#include <algorithm>
#include <deque>
#include <utility>

#include "base/clock.h"

namespace skipstone {

struct AutoscalerOptions {
  int most = 0;                                    // replicas; 0: their number is fixed
  double target = 0.7;                             // of the number, over the replicas that serve
  bool shed = true;                                // the number counts what load takes away, too
  Duration interval = std::chrono::seconds(15);    // between decisions
  Duration start = std::chrono::seconds(60);       // until a new replica serves
  Duration hold = std::chrono::seconds(300);       // fewer, once nothing in it wanted more
  Duration step_down = std::chrono::seconds(120);  // of one replica
};

// One thread. Times do not go back.
class Autoscaler {
 public:
  Autoscaler(const AutoscalerOptions& options, int least)
      : options_(options), least_(least), serving_(least) {}

  // When Advance is next to be called.
  Time next() const {
    return starting_.empty() ? decision_ : std::min(decision_, starting_.front());
  }
  // `mean`: of the number since the last decision. True: this was one.
  bool Advance(Time now, double mean);
  int serving() const { return serving_; }

 private:
  void Decide(Time now, double mean);

  const AutoscalerOptions options_;
  const int least_;
  int serving_;
  Time decision_{};
  Time last_down_{};
  std::deque<Time> starting_;                // when they will serve
  std::deque<std::pair<Time, int>> wanted_;  // by the decisions of `hold`
};

}  // namespace skipstone
