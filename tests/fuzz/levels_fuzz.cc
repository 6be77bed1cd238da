// Levels files: the text up to a NUL, then levels.safetensors, as safetensors_fuzz takes it up to a
// newline: the header, whose length is made right, and the data.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/log.h"
#include "engine/levels/levels_file.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/checkpoint_builder.h"

namespace skipstone {
namespace {

constexpr char kText[] = R"(format: 1
model: {fingerprint: '0123456789abcdef', layers: 4, hidden: 2}
method: {ranker: greedy-kl, text: '89abcdef01234567', windows: 32, window: 256, seed: 1}
maps: 'levels.safetensors'
levels:
- name: a
  skip: attn:3+mlp:0
  family: f
  compensation: bias
  sheds_to_identity: true
  quality: {kl: [0.1, 0, 1], perplexity: [9, 8, 10], agreement: [0.5, 0, 1], recall: [0, 0, 0]}
  saved: {decode_ms: 1.2, pages: 0.3}
- {name: b, skip: 'attn:last=2+win:1/64+mlp:0', family: f}
)";
constexpr char kHeader[] =
    R"({"a.layers.3.attention.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
    R"("a.layers.0.mlp.up":{"dtype":"BF16","shape":[2,1],"data_offsets":[8,12]},)"
    R"("a.layers.0.mlp.down":{"dtype":"BF16","shape":[1,2],"data_offsets":[12,16]}}     )";

class Folder {
 public:
  // In memory where the machine has such a folder: what is written is synced.
  Folder()
      : path_((std::filesystem::exists("/dev/shm") ? std::filesystem::path("/dev/shm")
                                                   : std::filesystem::temp_directory_path()) /
              "skipstone-levels-fuzz-XXXXXX") {
    SKIPSTONE_CHECK(mkdtemp(path_.data()) != nullptr);
    std::atexit([] { std::filesystem::remove_all(Get().path_); });
  }
  static Folder& Get() {
    static Folder* const folder = new Folder();
    return *folder;
  }
  std::string Write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << bytes;
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

// Everything that is accepted can be written, and is read as it was.
void CheckFile(const LevelsFile& file) {
  const std::string path = Folder::Get().Write("again.yaml", "");
  SKIPSTONE_CHECK(WriteLevelsFile(file, path).ok());
  const auto again = ReadLevelsFile(path);
  SKIPSTONE_CHECK(again.ok() && again->levels.size() == file.levels.size());
  for (size_t i = 0; i < file.levels.size(); ++i) {
    const CalibratedLevel& level = file.levels[i];
    SKIPSTONE_CHECK(level.skip.num_layers() == file.num_layers && IsLevelName(level.name));
    SKIPSTONE_CHECK(level.skip.HasMaps() == !level.maps.empty());
    SKIPSTONE_CHECK(again->levels[i].skip == level.skip && again->levels[i].name == level.name);
    SKIPSTONE_CHECK(again->levels[i].decode_ms_saved == level.decode_ms_saved);
    for (const LevelMap& map : level.maps) {
      for (const auto& [name, part] : kMapParts) {
        const Tensor& tensor = map.tensors.*part;
        SKIPSTONE_CHECK(tensor.rows <= file.hidden && tensor.cols <= file.hidden);
      }
    }
  }
}

}  // namespace

FuzzSeeds Seeds() {
  SetLogSink([](LogSeverity, const std::string&) {});  // of every unaligned tensor
  const std::string data = std::string(8, '\1') + "\1\2\3\4\5\6\7\10";
  return {{std::string(kText) + '\0' + kHeader + '\n' + data, kText, std::string(1, '\0'), "{}"},
          {"- {name: c, skip: none, family: g}\n",
           "name: ",
           "skip: ",
           "attn:2",
           "win:3/16",
           "@",
           "family: ",
           "compensation: ",
           "quality: {",
           "kl: [",
           ".nan",
           "inf",
           "1e999",
           "saved: {",
           "layers: 128",
           "hidden: 1048576",
           "maps: ",
           "null",
           "&x ",
           "*x",
           "\n",
           "[",
           "]",
           "{",
           "}",
           ": ",
           "'",
           "\"",
           "a.layers.",
           ".attention.",
           ".mlp.",
           "scale",
           "down",
           "\"F16\"",
           "\"I8\"",
           "[0,8]",
           "\x80\x7f"}};
}

}  // namespace skipstone

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skipstone;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t text_end = std::min(input.find('\0'), size);
  const std::string_view maps = input.substr(std::min(text_end + 1, size));
  const size_t end = std::min(maps.find('\n'), maps.size());
  const Folder& folder = Folder::Get();
  folder.Write("levels.safetensors",
               SafetensorsBytes(std::string(maps.substr(0, end)),
                                std::string(maps.substr(std::min(end + 1, maps.size())))));
  const auto file = ReadLevelsFile(folder.Write("levels.yaml", input.substr(0, text_end)));
  SKIPSTONE_CHECK(file.ok() || absl::IsInvalidArgument(file.status()));
  if (file.ok()) CheckFile(*file);
  return 0;
}
