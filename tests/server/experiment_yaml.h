// Experiments of a YAML text, for tests.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "server/experiments.h"

namespace skipstone::server {

inline ServerConfig ConfigOf(const std::string& experiments, const std::string& settings = "") {
  ServerConfig config;
  const absl::Status status = ReadConfigText(
      "levels: {full: none, deep: 'attn:last=2'}\n" + settings + "experiments:\n" + experiments,
      "e", config);
  EXPECT_TRUE(status.ok()) << status;
  return config;
}

inline absl::StatusOr<Experiments> TryExperiments(const std::string& experiments,
                                                  const std::string& settings = "") {
  const ServerConfig config = ConfigOf(experiments, settings);
  const auto levels = Levels::Make(config, 4, 64);
  EXPECT_TRUE(levels.ok()) << levels.status();
  return Experiments::Make(config, *levels);
}

inline Experiments ExperimentsOf(const std::string& experiments, const std::string& settings = "") {
  auto made = TryExperiments(experiments, settings);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

inline std::string Halves(const std::string& name, const std::string& unit,
                          const std::string& more = "") {
  return absl::StrFormat(
      "- name: %s\n  unit: %s\n  salt: s\n%s"
      "  arms: [{name: c, level: full, weight: 1}, {name: t, level: deep, weight: 1}]\n",
      name, unit, more);
}

inline std::optional<Assignment> ByKey(const Experiments& experiments, const std::string& key) {
  Assignment assignment = experiments.Assign({.experiment_key = key});
  if (assignment.arm.empty()) return std::nullopt;
  return assignment;
}

inline Assignment ByMetadata(const Experiments& experiments,
                             std::map<std::string, std::string> metadata) {
  return experiments.Assign({.metadata = [&](const std::string& key) -> std::optional<std::string> {
    const auto found = metadata.find(key);
    if (found == metadata.end()) return std::nullopt;
    return found->second;
  }});
}

inline std::vector<std::string> ReasonsOf(const Assignment& assignment) {
  std::vector<std::string> reasons;
  for (const experiment::Exposure& exposure : assignment.exposures) {
    reasons.push_back(exposure.experiment + " " + NameOf(exposure.reason));
  }
  return reasons;
}

// The rule, of two arms of equal weight: the greater fraction wins.
inline std::string ArmOfHalves(const std::string& salt, const std::string& unit) {
  return experiment::UnitFraction(salt, unit, "c") > experiment::UnitFraction(salt, unit, "t")
             ? "c"
             : "t";
}

// Halves of a layer whose arms set no level.
inline std::string Recorded(const std::string& name, const std::string& layer,
                            const std::string& salt = "") {
  return absl::StrFormat(
      "- name: %s\n  unit: request.experiment_key\n  layer: %s\n  salt: '%s'\n"
      "  arms: [{name: c, weight: 1}, {name: t, weight: 1}]\n",
      name, layer, salt);
}

}  // namespace skipstone::server
