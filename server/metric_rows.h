// The rows of request_metrics.h and server_metrics.h, where every metric of a server has one:
//   kind(name, help), of kinds ..._BY then the label and its values, of histograms then the bounds
// makes the member `name` and, at /metrics, `skipstone_name`. tools/dashboard.py reads the rows,
// for the dashboard and for the tests of deploy/; a metric that no panel of its table shows has one
// made of its row. The macros are for these two headers alone.
//
// A label has few values, known at the start: each is another series, or another forty with a
// histogram, in every scrape and for ever. Hence neither user nor request id is a label, and a
// tenant only if the configuration names it: clients make these up without end.
#pragma once

#include <string>
#include <vector>

#include "server/metric_scope.h"

namespace skipstone::server {

template <typename Enum>
std::vector<std::string> NamesUpTo(Enum last) {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(last); ++i) names.push_back(NameOf(static_cast<Enum>(i)));
  return names;
}

#define COUNTER(name, help) Counter& name = Add<Counter>(#name, help)
#define GAUGE(name, help) Gauge& name = Add<Gauge>(#name, help)
#define HISTOGRAM(name, help, bounds) \
  Histogram& name = Add<Histogram>(#name, help, BoundsOf(#name, bounds))
#define COUNTER_BY(name, help, label, ...) \
  ByLabel<Counter> name = AddBy(FamilyOf<Counter>(#name, help), label, __VA_ARGS__)
#define GAUGE_BY(name, help, label, ...) \
  ByLabel<Gauge> name = AddBy(FamilyOf<Gauge>(#name, help), label, __VA_ARGS__)
// ... each made at its first observation, since it is large.
#define HISTOGRAM_BY(name, help, label, bounds) \
  ByLabel<Histogram> name =                     \
      AddBy(FamilyOf<Histogram>(#name, help), label, {}, BoundsOf(#name, bounds))
// Always 1; its labels, which are known with the model, are what it says.
#define INFO(name, help) prometheus::Family<Gauge>& name = FamilyOf<Gauge>(#name, help)

}  // namespace skipstone::server
