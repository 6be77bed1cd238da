// What GetModel tells of levels and experiments.
#pragma once

#include "server/experiments.h"
#include "server/levels.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

void DescribeLevels(const Levels& levels, v1::GetModelResponse& response);
void DescribeExperiments(const Experiments& experiments, v1::GetModelResponse& response);

}  // namespace skipstone::server
