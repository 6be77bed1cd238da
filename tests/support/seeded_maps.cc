#include "tests/support/seeded_maps.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/hash.h"
#include "engine/backend/random_fill.h"
#include "engine/skip/skip_grammar.h"

namespace skipstone {
namespace {

struct NamedMap {
  Sublayer sublayer;
  int layer;
  std::string form;

  std::string Name() const {
    return absl::StrFormat("map %s %d %s", sublayer == Sublayer::kAttention ? "attn" : "mlp", layer,
                           form);
  }
  uint64_t fingerprint() const { return Fnv1a64(Name()); }
};

std::vector<NamedMap> MapsOf(const std::string& text, const SkipSet& skip) {
  std::vector<NamedMap> maps;
  const size_t at = text.find('@');
  if (at == std::string::npos) return maps;
  const std::vector<std::string> forms = absl::StrSplit(text.substr(at + 1), ',');
  size_t skipped = 0;
  for (const Sublayer sublayer : {Sublayer::kAttention, Sublayer::kMlp}) {
    for (int layer = 0; layer < skip.num_layers(); ++layer) {
      const bool attention = sublayer == Sublayer::kAttention;
      if (attention ? skip.KeepsAttention(layer) : skip.KeepsMlp(layer)) continue;
      const std::string& form = forms[skipped++ % forms.size()];
      if (form != "-") maps.push_back({sublayer, layer, form});
    }
  }
  return maps;
}

}  // namespace

SkipSet SeededSet(const std::string& text, int num_layers) {
  SkipSet skip = *ParseSkipSet(text.substr(0, text.find('@')), num_layers);
  for (const NamedMap& map : MapsOf(text, skip)) {
    if (map.sublayer == Sublayer::kAttention) {
      skip.MapAttention(map.layer, map.fingerprint());
    } else {
      skip.MapMlp(map.layer, map.fingerprint());
    }
  }
  return skip;
}

void SeededMaps::AddTo(LoadedModel* model, const std::vector<std::string>& texts) {
  const int layers = model->config.shape.num_layers;
  const int64_t hidden = model->config.shape.hidden;
  model->maps.resize(layers);
  const auto add = [&](const NamedMap& map, const char* tensor, int64_t rows, int64_t cols) {
    std::vector<char>& memory = memory_.emplace_back(rows * cols * SizeOf(DType::kBF16));
    const uint64_t seed = Fnv1a64(absl::StrFormat("%s %s", map.Name(), tensor));
    FillUniform({.type = DType::kBF16, .seed = seed, .inputs = cols}, 0, rows * cols,
                memory.data());
    const Tensor added{memory.data(), DType::kBF16, rows, cols};
    const auto id = model->backend->AddWeights({&added, 1});
    SKIPSTONE_CHECK(id.ok());
    return *id;
  };
  for (const std::string& text : texts) {
    for (const NamedMap& map : MapsOf(text, SeededSet(text, layers))) {
      const bool attention = map.sublayer == Sublayer::kAttention;
      std::vector<uint64_t>& known =
          attention ? model->maps[map.layer].attention : model->maps[map.layer].mlp;
      if (std::ranges::find(known, map.fingerprint()) != known.end()) continue;
      known.push_back(map.fingerprint());
      LayerWeights& w = model->weights.layers[map.layer];
      MapWeights& added = (attention ? w.attention_maps : w.mlp_maps).emplace_back();
      added.bias = add(map, "bias", 1, hidden);
      if (map.form == "diag") added.scale = add(map, "scale", 1, hidden);
      if (map.form == "full") added.up = add(map, "up", hidden, hidden);
      if (!map.form.starts_with("rank=")) continue;
      const int rank = std::atoi(map.form.c_str() + 5);
      added.down = add(map, "down", rank, hidden);
      added.up = add(map, "up", hidden, rank);
    }
  }
}

}  // namespace skipstone
