// Maps whose numbers are a function of their names, for tests that run a model: those of
// tests/golden (llama_reference.py, parse_level).
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "engine/make_backend.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

// "attn:1,3+mlp:2@bias,rank=3": a set of the grammar, and behind the '@' the forms of the maps of
// what it skips, in turn, attention first: "bias", "diag", "rank=R", "full", or "-" for none.
SkipSet SeededSet(const std::string& text, int num_layers);

// Owns the weights of maps. Must outlive the models that it added them to.
class SeededMaps {
 public:
  // Adds the maps that the sets name and the model lacks: before its runner is made.
  void AddTo(LoadedModel* model, const std::vector<std::string>& texts);

 private:
  std::deque<std::vector<char>> memory_;
};

}  // namespace skipstone
