// What the wire tells of levels and experiments. Pure functions.
#pragma once

#include <string>

#include "server/experiments.h"
#include "server/levels.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

// What runs for a request at this level.
v1::AppliedSkip AppliedSkipOf(const Level& level, const std::string& experiment,
                              const std::string& arm);

// Of a GetModelResponse.
void DescribeLevels(const Levels& levels, v1::GetModelResponse& response);
void DescribeExperiments(const Experiments& experiments, v1::GetModelResponse& response);

}  // namespace skipstone::server
