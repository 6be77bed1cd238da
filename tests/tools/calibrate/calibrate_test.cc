#include "tools/calibrate/calibrate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/levels/levels_file.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

namespace skipstone::calibrate {
namespace {

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

class CalibrateTest : public testing::Test {
 protected:
  CalibrateOptions Options(const std::string& out) const {
    CalibrateOptions options;
    options.model = SourceDir() + "/models/demo";
    options.text = {SourceDir() + "/models/demo/valid.txt"};
    options.second_text = {SourceDir() + "/README.md"};
    options.threads = 2;
    options.windows = 4;
    options.fit_windows = 8;
    options.window = 32;
    options.held_out_windows = 4;
    options.held_out_window = 48;
    options.prompts = 2;
    options.generated = 4;
    options.context = 64;
    options.levels = "25%;50%";
    options.compensation = "bias;diag;rank=2";
    options.compare = "last";
    options.out = dir_.path() + "/" + out;
    return options;
  }
  absl::Status Run(const CalibrateOptions& options) {
    std::ostringstream progress;
    return Calibrate(options, out_, progress);
  }

  TempDir dir_;
  std::ostringstream out_;
};

TEST_F(CalibrateTest, WritesLevelsThatTheServerCanLoad) {
  CalibrateOptions options = Options("levels.yaml");
  options.compensation = "bias;diag;rank=2;value";
  options.choices = dir_.Write(
      "choices.jsonl",
      R"({"query": "In the beginning who made heaven?", "choices": ["God", "stone"], "gold": 0})");
  options.last_words = dir_.Write(
      "words.jsonl", R"({"context": "And the LORD said unto", "continuation": "Moses"})");
  ASSERT_EQ(Run(options).message(), "");
  const LevelsFile file = ReadLevelsFile(dir_.path() + "/levels.yaml").value();
  EXPECT_EQ(file.num_layers, 12);
  bool some_maps = false;
  for (const CalibratedLevel& level : file.levels) {
    ASSERT_TRUE(level.quality) << level.name;
    EXPECT_LE(level.quality->kl.low, level.quality->kl.value);
    EXPECT_LE(level.quality->kl.value, level.quality->kl.high);
    EXPECT_GT(level.quality->kl.value, 0);
    EXPECT_GT(level.pages_saved, 0);
    EXPECT_TRUE(level.quality->choice && level.quality->recall && level.quality->retention);
    EXPECT_EQ(level.skip.HasMaps(), !level.compensation.empty()) << level.name;
    some_maps = some_maps || level.skip.HasMaps();
  }
  EXPECT_TRUE(some_maps);
  EXPECT_THAT(ReadAll(dir_.path() + "/levels.html"), testing::HasSubstr("attn-6"));
  EXPECT_THAT(out_.str(), testing::HasSubstr("none"));
  const auto rows = nlohmann::json::parse(ReadAll(dir_.path() + "/levels.json"))["rows"];
  EXPECT_EQ(rows[0]["retention"]["value"], 1);  // the full model goes on as it would
  for (const auto& row : rows) {
    EXPECT_GT(row["sampled_perplexity"], 1) << row["name"];
    EXPECT_GT(row["sampled_agreement"]["value"], 0) << row["name"];
    EXPECT_TRUE(row["accuracy"].is_number()) << row["name"];
  }
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/levels.yaml.journal"));
}

// What does not depend on the clock: the maps, and the levels file without the times saved.
std::string WithoutTimes(const std::string& text) {
  std::string kept;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t saved = line.find("saved:");
    kept += (saved == std::string::npos ? line : line.substr(0, saved)) + "\n";
  }
  return kept;
}

TEST_F(CalibrateTest, EqualInputsGiveEqualFilesAtAnyThreadsAndSteps) {
  CalibrateOptions first = Options("a.yaml"), second = Options("a2.yaml");
  second.threads = 1;
  second.step_rows = 64;
  ASSERT_TRUE(Run(first).ok());
  ASSERT_TRUE(Run(second).ok());
  EXPECT_EQ(ReadAll(dir_.path() + "/a.safetensors"), ReadAll(dir_.path() + "/a2.safetensors"));
  std::string renamed = WithoutTimes(ReadAll(dir_.path() + "/a2.yaml"));
  for (size_t at; (at = renamed.find("a2.safetensors")) != std::string::npos;) {
    renamed.replace(at, 2, "a");
  }
  EXPECT_EQ(WithoutTimes(ReadAll(dir_.path() + "/a.yaml")), renamed);
}

TEST_F(CalibrateTest, GoesOnFromAJournal) {
  CalibrateOptions whole = Options("w.yaml"), resumed = Options("w2.yaml");
  whole.journal = dir_.path() + "/journal";
  ASSERT_TRUE(Run(whole).ok());
  // As if it had been ended in the middle of a line.
  const std::string journal = ReadAll(whole.journal);
  std::ofstream(whole.journal, std::ios::trunc) << journal.substr(0, journal.size() / 2);
  resumed.journal = whole.journal;
  ASSERT_TRUE(Run(resumed).ok());
  EXPECT_EQ(ReadAll(whole.journal), journal);
  EXPECT_EQ(ReadAll(dir_.path() + "/w.safetensors"), ReadAll(dir_.path() + "/w2.safetensors"));
  // A journal of another run is not taken.
  resumed.window = 40;
  EXPECT_EQ(Run(resumed).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(CalibrateTest, MeetsABudgetWithWindowsAndSkips) {
  CalibrateOptions options = Options("b.yaml");
  options.levels = "1";
  options.compensation = "";
  options.save_pages = 0.4;
  options.widths = "16";
  options.sets = "attn:2;win:3/16";
  ASSERT_EQ(Run(options).message(), "");
  const LevelsFile file = ReadLevelsFile(options.out).value();
  ASSERT_EQ(file.levels.back().name, "pages");
  EXPECT_GE(file.levels.back().pages_saved, 0.4 - 1e-9);
  EXPECT_THAT(out_.str(), testing::HasSubstr("win:3/16"));
}

TEST_F(CalibrateTest, BadInputsAreRefusedByName) {
  const auto error = [&](auto set) {
    CalibrateOptions options = Options("x.yaml");
    set(options);
    const absl::Status status = Run(options);
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  };
  using O = CalibrateOptions;
  EXPECT_THAT(error([](O& o) { o.text.clear(); }), testing::HasSubstr("--text"));
  EXPECT_THAT(error([](O& o) { o.model = ""; }), testing::HasSubstr("--model"));
  EXPECT_THAT(error([](O& o) { o.model = "synthetic:layers=2"; }), testing::HasSubstr("synthetic"));
  const std::string one = dir_.Write("one.txt", "Amen");
  EXPECT_THAT(error([&](O& o) { o.text = {one}; }), testing::HasSubstr("one.txt"));
  EXPECT_THAT(error([&](O& o) { o.second_text = {one}; }), testing::HasSubstr("one.txt"));
  EXPECT_THAT(error([](O& o) { o.window = 1 << 20; }), testing::Not(testing::IsEmpty()));
  EXPECT_THAT(error([](O& o) { o.last_words = "/nowhere"; }), testing::HasSubstr("/nowhere"));
  // MLPs hold no pages.
  EXPECT_THAT(error([](O& o) {
                o.save_pages = 0.5;
                o.sublayers = "mlp";
              }),
              testing::HasSubstr("to be saved"));
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/x.yaml"));
}

}  // namespace
}  // namespace skipstone::calibrate
