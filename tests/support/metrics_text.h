// Reads what a server exposes at /metrics.
#pragma once

#include <string>
#include <vector>

namespace skipstone {

// The body of http://ADDRESS/metrics; empty if nothing answers.
std::string ScrapeMetrics(const std::string& address);

// Sum of all samples of `series` in `text` whose line contains every string of `labels`.
double SumOfSamples(const std::string& text, const std::string& series,
                    const std::vector<std::string>& labels = {});

}  // namespace skipstone
