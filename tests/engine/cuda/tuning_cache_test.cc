// The file of timed algorithms: what it keeps, and what becomes of files that are not its own.
#include "engine/cuda/products/tuning_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>
#include <vector>

#include "base/hash.h"
#include "base/log.h"
#include "engine/cuda/cuda_backend.h"
#include "tests/support/temp_dir.h"

namespace skipstone::cuda {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kDevice[] = "skipstone-tuning 1, a device";

TunedAlgorithm Algorithm(uint64_t number) {
  TunedAlgorithm tuned;
  for (size_t i = 0; i < std::size(tuned.algorithm.data); ++i) {
    tuned.algorithm.data[i] = Mix64(number * 8 + i);
  }
  tuned.us = static_cast<double>(number) + 0.25;
  return tuned;
}

LtShape Key(int rows) {
  return {.type = rows % 64 == 0 ? DType::kBF16 : DType::kF16,
          .rows = rows,
          .outputs = 4096,
          .inputs = 11008,
          .y_stride = 4104,
          .f32_output = rows % 64 == 0,
          .add = rows % 128 == 0};
}

TunedAlgorithms Algorithms() {
  return {{Key(32), Algorithm(1)}, {Key(64), Algorithm(2)}, {Key(128), Algorithm(3)}};
}

bool Same(const TunedAlgorithm& a, const TunedAlgorithm& b) {
  return std::equal(std::begin(a.algorithm.data), std::end(a.algorithm.data), b.algorithm.data) &&
         a.us == b.us;
}

std::string Hashed(const std::string& text) {
  const std::string empty = FormatTuning({}, "");  // "\nhash ...\n"
  char digits[17];
  std::snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(Fnv1a64(text)));
  return text + empty.substr(1, empty.size() - 18) + digits + "\n";
}

// The text without its last line.
std::string Body(const std::string& text) {
  return text.substr(0, text.rfind('\n', text.size() - 2) + 1);
}

TEST(TuningTextTest, KeepsEveryBit) {
  const TunedAlgorithms before = Algorithms();
  const auto after = ParseTuning(FormatTuning(before, kDevice), kDevice);
  ASSERT_TRUE(after.ok()) << after.status();
  ASSERT_EQ(after->size(), before.size());
  for (const auto& [key, tuned] : before) {
    ASSERT_TRUE(after->contains(key));
    EXPECT_TRUE(Same(after->at(key), tuned)) << key.rows;
  }
  EXPECT_TRUE(ParseTuning(FormatTuning({}, kDevice), kDevice)->empty());
}

TEST(TuningTextTest, RefusesAnotherDevice) {
  const std::string text = FormatTuning(Algorithms(), kDevice);
  for (const char* device :
       {"skipstone-tuning 1, a device 2", "skipstone-tuning 2, a device", ""}) {
    const auto parsed = ParseTuning(text, device);
    ASSERT_FALSE(parsed.ok()) << device;
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("another device"));
  }
}

TEST(TuningTextTest, RefusesEveryTornFile) {
  const std::string text = FormatTuning(Algorithms(), kDevice);
  for (size_t bytes = 0; bytes < text.size(); ++bytes) {
    EXPECT_FALSE(ParseTuning(text.substr(0, bytes), kDevice).ok()) << bytes;
  }
  EXPECT_FALSE(ParseTuning(text + "\n", kDevice).ok());
}

TEST(TuningTextTest, RefusesLinesThatAreNoAlgorithm) {
  const std::string hex(128, 'a');
  const auto parse = [&](const std::string& line) {
    return ParseTuning(Hashed(std::string(kDevice) + "\n" + line + "\n"), kDevice).status();
  };
  const std::string good = "bf16 32 8 16 8 f32 add " + hex + " 1.50";
  ASSERT_TRUE(parse(good).ok()) << parse(good);
  for (const std::string& bad :
       {"f32 32 8 16 8 f32 add " + hex + " 1.50", "bf16 0 8 16 8 f32 add " + hex + " 1.50",
        "bf16 32 -8 16 8 f32 add " + hex + " 1.50", "bf16 32 8 16x 8 f32 add " + hex + " 1.50",
        "bf16 32 8 16 8 f16 add " + hex + " 1.50", "bf16 32 8 16 8 f32 sub " + hex + " 1.50",
        "bf16 32 8 16 8 f32 add " + hex + "0 1.50",
        "bf16 32 8 16 8 f32 add g" + hex.substr(1) + " 1", "bf16 32 8 16 8 f32 add " + hex,
        "bf16 99999999999 8 16 8 f32 add " + hex + " 1.50",
        "bf16 32 8 16 8 f32 add " + hex + " fast", good + " more", good + "\n" + good,
        std::string()}) {
    EXPECT_EQ(parse(bad).code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

std::string Mutated(std::string text, std::mt19937_64& random) {
  for (uint64_t edits = random() % 4 + 1; edits > 0 && !text.empty(); --edits) {
    const size_t at = random() % text.size();
    switch (random() % 4) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text.erase(at, random() % 200);
        break;
      case 2:
        text.insert(at, 1, " \n0-\0f"[random() % 6]);
        break;
      case 3:
        text.insert(at, text.substr(random() % text.size(), random() % 200));
        break;
    }
  }
  return text;
}

TEST(TuningTextTest, SurvivesAnyBytes) {
  std::mt19937_64 random(1);
  const std::string text = FormatTuning(Algorithms(), kDevice);
  int parsed = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string damaged = Mutated(text, random);
    if (damaged != text) {
      EXPECT_FALSE(ParseTuning(damaged, kDevice).ok());
    }
    // With a hash that is right, so that the lines are read.
    const auto result = ParseTuning(Hashed(Mutated(Body(text), random)), kDevice);
    if (!result.ok()) continue;
    ++parsed;
    EXPECT_TRUE(ParseTuning(FormatTuning(*result, kDevice), kDevice).ok());
  }
  EXPECT_GT(parsed, 100);
}

class TuningCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasCudaDevice()) GTEST_SKIP() << "no device";
    device_ = *TuningDevice();
    SetLogSink([this](LogSeverity severity, const std::string& message) {
      EXPECT_EQ(severity, LogSeverity::kWarning);
      logged_.push_back(message);
    });
  }
  void TearDown() override { SetLogSink(nullptr); }

  std::string Read() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Files in the folder, left-overs included.
  long Files() const {
    return std::distance(std::filesystem::directory_iterator(folder_.path()), {});
  }

  TempDir folder_;
  std::string path_ = folder_.path() + "/tuning";
  std::string device_;
  std::vector<std::string> logged_;
};

TEST_F(TuningCacheTest, NamesTheDevice) {
  EXPECT_THAT(device_,
              AllOf(HasSubstr("skipstone-tuning 1"), HasSubstr("compute capability"),
                    HasSubstr("multiprocessors"), HasSubstr("driver 1"), HasSubstr("cuBLASLt 1")));
}

TEST_F(TuningCacheTest, KeepsFromStartToStart) {
  TuningCache first(path_);
  EXPECT_EQ(first.Find(Key(32)), nullptr);
  first.Save();
  EXPECT_EQ(Files(), 0) << "nothing is new";
  first.Set(Key(32), Algorithm(7));
  first.Save();
  TuningCache second(path_);
  ASSERT_NE(second.Find(Key(32)), nullptr);
  EXPECT_TRUE(Same(*second.Find(Key(32)), Algorithm(7)));
  second.Set(Key(64), Algorithm(8));
  second.Save();
  const TuningCache third(path_);
  EXPECT_NE(third.Find(Key(32)), nullptr);
  EXPECT_NE(third.Find(Key(64)), nullptr);
  EXPECT_EQ(Files(), 1);
  EXPECT_THAT(logged_, ElementsAre());
}

TEST_F(TuningCacheTest, WritesNothingWithoutNews) {
  TuningCache(path_).Save();
  TuningCache first(path_);
  first.Set(Key(32), Algorithm(7));
  first.Save();
  std::filesystem::remove(path_);
  first.Save();
  EXPECT_EQ(Files(), 0);
}

TEST_F(TuningCacheTest, IgnoresAndReplacesWhatDoesNotFit) {
  const std::string good = FormatTuning(Algorithms(), device_);
  std::string flipped = good;
  flipped[good.size() / 2] ^= 1;
  for (const std::string& text :
       {FormatTuning(Algorithms(), kDevice), flipped, good.substr(0, good.size() / 2),
        std::string(), std::string(size_t{5} << 20, 'x')}) {
    folder_.Write("tuning", text);
    logged_.clear();
    TuningCache cache(path_);
    EXPECT_EQ(cache.Find(Key(32)), nullptr);
    ASSERT_THAT(logged_, ElementsAre(AllOf(HasSubstr(path_), HasSubstr("ignored"))));
    cache.Set(Key(32), Algorithm(1));
    cache.Save();
    EXPECT_EQ(ParseTuning(Read(), device_)->size(), 1u);
    EXPECT_EQ(logged_.size(), 1u);
  }
}

TEST_F(TuningCacheTest, AFolderInTheWayIsAWarningEach) {
  std::filesystem::create_directory(path_);
  TuningCache cache(path_);
  EXPECT_EQ(logged_.size(), 1u);
  cache.Set(Key(32), Algorithm(1));
  cache.Save();
  EXPECT_EQ(logged_.size(), 2u);
  EXPECT_EQ(Files(), 1) << "no temporary file is left";
}

TEST_F(TuningCacheTest, APathThatCannotBeWrittenIsOneWarning) {
  TuningCache cache(folder_.path() + "/missing/tuning");
  EXPECT_THAT(logged_, ElementsAre());
  cache.Set(Key(32), Algorithm(1));
  cache.Save();
  cache.Save();
  ASSERT_THAT(logged_, ElementsAre(HasSubstr("/missing/tuning")));
  EXPECT_NE(cache.Find(Key(32)), nullptr);
}

TEST_F(TuningCacheTest, ReadersNeverSeeHalfAFile) {
  constexpr int kWriters = 4;
  std::vector<TuningCache> caches(kWriters, TuningCache(path_));
  caches[0].Set(Key(32), Algorithm(0));
  caches[0].Save();
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&cache = caches[w], w] {
      for (int i = 1; i <= 100; ++i) {
        cache.Set(Key(32 * (w + 1) * i), Algorithm(i));
        cache.Save();
      }
    });
  }
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(ParseTuning(Read(), device_).ok());
  for (std::thread& writer : writers) writer.join();
  EXPECT_GE(ParseTuning(Read(), device_)->size(), 100u);
  EXPECT_EQ(Files(), 1);
  EXPECT_THAT(logged_, ElementsAre());
}

}  // namespace
}  // namespace skipstone::cuda
