// Makes the metrics that have one set of labels; metric_rows.h says how.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace skipstone::server {

// Bounds by histogram.
using Buckets = std::map<std::string, std::vector<double>>;

// One metric for each value of a label. Thread-safe.
template <typename T>
using ByLabel = std::function<T&(const std::string& value)>;

// Names are without their prefix, skipstone_. A metric lives as long as the registry; what was made
// before with the same name and labels is the same metric.
class MetricScope {
 public:
  // `buckets` replaces the bounds of the histograms it names.
  MetricScope(prometheus::Registry& registry, const Buckets& buckets, prometheus::Labels labels)
      : registry_(registry), buckets_(buckets), labels_(std::move(labels)) {}

  const std::vector<std::string>& histogram_names() const { return histogram_names_; }

 protected:
  using Counter = prometheus::Counter;
  using Gauge = prometheus::Gauge;
  using Histogram = prometheus::Histogram;
  using Bounds = std::vector<double>;

  template <typename T>
  prometheus::Family<T>& FamilyOf(const char* name, const char* help) {
    const std::string full = std::string("skipstone_") + name;
    return prometheus::detail::Builder<T>().Name(full).Help(help).Register(registry_);
  }
  template <typename T, typename... Args>
  T& Add(const char* name, const char* help, const Args&... args) {
    return FamilyOf<T>(name, help).Add(labels_, args...);
  }
  // Those of `values` are there from now on, at 0; others when they are first asked for.
  template <typename T, typename... Args>
  ByLabel<T> AddBy(prometheus::Family<T>& family, const std::string& label,
                   const std::vector<std::string>& values, const Args&... args) {
    const auto add = [=, &family, labels = labels_](const std::string& value) -> T& {
      prometheus::Labels all = labels;
      all.emplace(label, value);
      return family.Add(all, args...);
    };
    std::map<std::string, T*> made;
    for (const std::string& value : values) made[value] = &add(value);
    return [add, made = std::move(made)](const std::string& value) -> T& {
      const auto found = made.find(value);
      return found != made.end() ? *found->second : add(value);
    };
  }
  Bounds BoundsOf(const char* name, absl::Span<const double> bounds) {
    histogram_names_.push_back(name);
    const auto own = buckets_.find(name);
    return own != buckets_.end() ? own->second : Bounds(bounds.begin(), bounds.end());
  }

 private:
  prometheus::Registry& registry_;
  const Buckets& buckets_;
  const prometheus::Labels labels_;
  std::vector<std::string> histogram_names_;
};

}  // namespace skipstone::server
