#include "engine/levels/levels_yaml.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/flag_set.h"
#include "base/status.h"
#include "engine/levels/yaml_reader.h"
#include "engine/skip/skip_grammar.h"

namespace skipstone {
namespace {

constexpr int kFormat = 1;
// Far above any model's, and small enough that no product of two overflows.
constexpr int kMaxHidden = 1 << 20;

bool ReadHex(const std::string& text, uint64_t* number) {
  if (text.size() != 16) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number, 16);
  return error == std::errc() && end == text.data() + text.size();
}

FlagValue Hex(uint64_t* target) {
  return {.wanted = "16 hexadecimal digits",
          .read =
              [target](const std::string& text) {
                uint64_t number = 0;
                if (!ReadHex(text, &number)) return false;
                *target = number;
                return true;
              },
          .write = [target] { return absl::StrFormat("%016x", *target); }};
}

template <class T>
FlagValue Finite(T* target) {
  return Checked(target, "a finite number", [](const std::optional<double>& number) {
    return number.has_value() && std::isfinite(*number);
  });
}

// The maps lie beside the file: one from elsewhere must reach no other file.
FlagValue FileName(std::string* target) {
  return Checked(target, "a file name without a path", [](const std::string& name) {
    return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos &&
           name.find('\0') == std::string::npos;
  });
}

Measured& PlaceOf(Measured& measure) { return measure; }
Measured& PlaceOf(std::optional<Measured>& measure) { return measure.emplace(); }
const Measured* Given(const Measured& measure) { return &measure; }
const Measured* Given(const std::optional<Measured>& measure) {
  return measure ? &*measure : nullptr;
}

class LevelsReader {
 public:
  LevelsReader(const YamlReader& reader, LevelsYaml& out) : reader_(reader), out_(out) {}

  absl::Status Read(const YAML::Node& root) {
    FlagSet keys;
    int format = 0;
    keys.Add("format", InRange(&format, kFormat, kFormat), "");
    keys.Add("maps", FileName(&out_.maps), "");
    const auto visit = [&](const std::string& key, const YAML::Node& node) -> absl::Status {
      if (key == "model") return ReadModel(node);
      if (key == "method") return ReadMethod(node);
      if (key == "levels") return absl::OkStatus();  // which the model comes before
      return reader_.ReadKey(node, key, keys, key);
    };
    SKIPSTONE_RETURN_IF_ERROR(reader_.ForEachKey(root, "", visit));
    SKIPSTONE_RETURN_IF_ERROR(
        reader_.RequireKeys(root, "file", {"format", "model", "method", "levels"}));
    const YAML::Node levels = root["levels"];
    if (!levels.IsSequence() || levels.size() == 0) {
      return reader_.Error(levels, "levels: a list of levels is wanted");
    }
    for (const YAML::Node& level : levels) SKIPSTONE_RETURN_IF_ERROR(ReadLevel(level));
    return absl::OkStatus();
  }

 private:
  absl::Status ReadModel(const YAML::Node& node) {
    LevelsFile& file = out_.file;
    FlagSet keys;
    keys.Add("fingerprint", Hex(&file.model_fingerprint), "");
    keys.Add("layers", InRange(&file.num_layers, 1, kMaxLayers), "");
    keys.Add("hidden", InRange(&file.hidden, 1, kMaxHidden), "");
    SKIPSTONE_RETURN_IF_ERROR(reader_.ReadKeys(node, "model", "model.", keys));
    return reader_.RequireKeys(node, "model", {"fingerprint", "layers", "hidden"});
  }

  absl::Status ReadMethod(const YAML::Node& node) {
    LevelsFile& file = out_.file;
    FlagSet keys;
    keys.Add("ranker", &file.ranker, "");
    keys.Add("text", Hex(&file.text_hash), "");
    keys.Add("windows", InRange(&file.windows, 0), "");
    keys.Add("window", InRange(&file.window, 0), "");
    keys.Add("seed", &file.seed, "");
    SKIPSTONE_RETURN_IF_ERROR(reader_.ReadKeys(node, "method", "method.", keys));
    return reader_.RequireKeys(node, "method", {"ranker", "text", "windows", "window", "seed"});
  }

  absl::Status ReadLevel(const YAML::Node& node) {
    CalibratedLevel level;
    std::string skip;
    FlagSet keys;
    keys.Add("name", &level.name, "");
    keys.Add("skip", &skip, "");
    keys.Add("family", &level.family, "");
    keys.Add("compensation", &level.compensation, "");
    keys.Add("sheds_to_identity", &level.sheds_to_identity, "");
    FlagSet saved;
    saved.Add("decode_ms", Finite(&level.decode_ms_saved), "");
    saved.Add("pages", Finite(&level.pages_saved), "");
    const auto visit = [&](const std::string& key, const YAML::Node& value) -> absl::Status {
      if (key == "quality") return ReadQuality(value, level.quality.emplace());
      if (key == "saved") return reader_.ReadKeys(value, "saved", "saved.", saved);
      return reader_.ReadKey(value, "levels." + key, keys, key);
    };
    SKIPSTONE_RETURN_IF_ERROR(reader_.ForEachKey(node, "level", visit));
    SKIPSTONE_RETURN_IF_ERROR(reader_.RequireKeys(node, "level", {"name", "skip", "family"}));
    SKIPSTONE_RETURN_IF_ERROR(ReadSkip(node["skip"], skip, level.skip));
    out_.file.levels.push_back(std::move(level));
    return absl::OkStatus();
  }

  // "attn:22-29@HASH": the hash, if it is there, is of all maps.
  absl::Status ReadSkip(const YAML::Node& node, const std::string& text, SkipSet& skip) {
    const size_t at = text.find('@');
    out_.map_hashes.push_back(0);
    if (at != std::string::npos && !ReadHex(text.substr(at + 1), &out_.map_hashes.back())) {
      return reader_.Error(node, "skip: after '@' 16 hexadecimal digits are wanted");
    }
    auto parsed = ParseSkipSet(text.substr(0, at), out_.file.num_layers);
    if (!parsed.ok()) return reader_.Error(node, std::string(parsed.status().message()));
    skip = *std::move(parsed);
    return absl::OkStatus();
  }

  absl::Status ReadMeasured(const std::string& key, const YAML::Node& node, Measured& measured) {
    double* const places[] = {&measured.value, &measured.low, &measured.high};
    if (!node.IsSequence() || node.size() != std::size(places)) {
      return reader_.Error(node, absl::StrFormat("%s: [value, low, high] is wanted", key));
    }
    for (size_t i = 0; i < std::size(places); ++i) {
      FlagSet one;
      one.Add(key, Finite(places[i]), "");
      SKIPSTONE_RETURN_IF_ERROR(reader_.ReadKey(node[i], key, one, key));
    }
    return absl::OkStatus();
  }

  absl::Status ReadQuality(const YAML::Node& node, LevelQuality& quality) {
    const auto visit = [&](const std::string& key, const YAML::Node& value) {
      absl::Status status = reader_.Unknown(value, "quality." + key);
      ForEachMeasure(quality, [&](const char* name, auto& measure) {
        if (key == name) status = ReadMeasured(key, value, PlaceOf(measure));
      });
      return status;
    };
    SKIPSTONE_RETURN_IF_ERROR(reader_.ForEachKey(node, "quality", visit));
    return reader_.RequireKeys(node, "quality", {"kl", "perplexity", "agreement"});
  }

  const YamlReader& reader_;
  LevelsYaml& out_;
};

// The shortest text that is read as the same number.
std::string TextOf(double number) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), number).ptr;
  return std::string(text, end);
}

std::string Quoted(const std::string& text) {
  return "'" + absl::StrReplaceAll(text, {{"'", "''"}}) + "'";
}

std::string TextOf(const LevelQuality& quality) {
  std::vector<std::string> measures;
  ForEachMeasure(quality, [&](const char* name, const auto& measure) {
    const Measured* const m = Given(measure);
    if (m == nullptr) return;
    measures.push_back(absl::StrFormat("%s: [%s, %s, %s]", name, TextOf(m->value), TextOf(m->low),
                                       TextOf(m->high)));
  });
  return absl::StrFormat("  quality: {%s}\n", absl::StrJoin(measures, ", "));
}

std::string TextOf(const CalibratedLevel& level) {
  std::string text = absl::StrFormat("- name: %s\n  skip: %s\n  family: %s\n", level.name,
                                     level.skip.ToString(), level.family);
  if (!level.compensation.empty()) text += "  compensation: " + level.compensation + "\n";
  if (level.sheds_to_identity) text += "  sheds_to_identity: true\n";
  if (level.quality) text += TextOf(*level.quality);
  std::vector<std::string> saved;
  if (level.decode_ms_saved) saved.push_back("decode_ms: " + TextOf(*level.decode_ms_saved));
  if (level.pages_saved) saved.push_back("pages: " + TextOf(*level.pages_saved));
  if (!saved.empty()) text += absl::StrFormat("  saved: {%s}\n", absl::StrJoin(saved, ", "));
  return text;
}

}  // namespace

absl::StatusOr<LevelsYaml> ParseLevelsYaml(const std::string& text, const std::string& name) {
  LevelsYaml yaml;
  SKIPSTONE_RETURN_IF_ERROR(
      ReadYaml(text, name, [&](const YamlReader& reader, const YAML::Node& root) {
        return LevelsReader(reader, yaml).Read(root);
      }));
  return yaml;
}

std::string ToYaml(const LevelsFile& file, const std::string& maps) {
  std::string text = absl::StrFormat(
      "format: %d\nmodel: {fingerprint: '%016x', layers: %d, hidden: %d}\n"
      "method: {ranker: %s, text: '%016x', windows: %d, window: %d, seed: %d}\n",
      kFormat, file.model_fingerprint, file.num_layers, file.hidden, file.ranker, file.text_hash,
      file.windows, file.window, file.seed);
  if (!maps.empty()) text += "maps: " + Quoted(maps) + "\n";
  text += "levels:\n";
  for (const CalibratedLevel& level : file.levels) text += TextOf(level);
  return text;
}

}  // namespace skipstone
