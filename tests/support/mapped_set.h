// Skip sets with maps: "attn:last=2+mlp:3@7" is what the grammar makes of the text before the '@',
// with map 7 on each sublayer that it skips. Which one that is depends on the sublayer alone, so
// sets of one number have equal maps where both skip.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

inline uint64_t AttentionMapOf(int number, int layer) { return number * 1000 + layer * 2 + 1; }
inline uint64_t MlpMapOf(int number, int layer) { return AttentionMapOf(number, layer) + 1; }

inline SkipSet MappedSet(const std::string& text, int num_layers) {
  const size_t at = text.find('@');
  SkipSet skip = *ParseSkipSet(text.substr(0, at), num_layers);
  if (at == std::string::npos) return skip;
  const int number = std::atoi(text.c_str() + at + 1);
  for (int layer = 0; layer < num_layers; ++layer) {
    if (!skip.KeepsAttention(layer)) skip.MapAttention(layer, AttentionMapOf(number, layer));
    if (!skip.KeepsMlp(layer)) skip.MapMlp(layer, MlpMapOf(number, layer));
  }
  return skip;
}

// Of all sublayers, the maps of these numbers.
inline std::vector<LayerMaps> MapsOf(std::initializer_list<int> numbers, int num_layers) {
  std::vector<LayerMaps> maps(num_layers);
  for (int layer = 0; layer < num_layers; ++layer) {
    for (const int number : numbers) {
      maps[layer].attention.push_back(AttentionMapOf(number, layer));
      maps[layer].mlp.push_back(MlpMapOf(number, layer));
    }
  }
  return maps;
}

}  // namespace skipstone
