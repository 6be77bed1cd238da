#include "engine/model/safetensors.h"

#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/model/safetensors_header.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_dir.h"

namespace skipstone {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string DataOf(const Safetensors& file, const TestTensor& tensor) {
  const StoredTensor* stored = file.Find(tensor.name);
  return stored == nullptr
             ? "absent"
             : std::string(static_cast<const char*>(stored->data), tensor.data.size());
}

// One entry of a header; the header's length is a multiple of 8 with kPad.
std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return absl::StrFormat(R"("%s":{"dtype":"%s","shape":%s,"data_offsets":%s})", name, dtype, shape,
                         offsets);
}

std::string FileWith(const std::string& entries, size_t data_bytes) {
  std::string header = "{" + entries + "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return SafetensorsBytes(header, std::string(data_bytes, '\1'));
}

std::string ErrorOf(const std::string& bytes) {
  const auto entries = ParseSafetensorsHeader(bytes, "some.safetensors");
  EXPECT_EQ(entries.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(entries.status().message()), HasSubstr("some.safetensors: "));
  return std::string(entries.status().message());
}

TEST(SafetensorsTest, ReadsEveryServedType) {
  const std::vector<TestTensor> tensors = {MakeTestTensor("a", "F32", {2, 3}),
                                           MakeTestTensor("b", "F16", {5}),
                                           MakeTestTensor("c", "BF16", {1, 1, 7})};
  TempDir dir;
  const auto file = Safetensors::OpenFile(dir.Write("x", SafetensorsBytes(tensors)));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors().size(), 3);
  EXPECT_EQ(file->Find("a")->type, DType::kF32);
  EXPECT_EQ(file->Find("b")->type, DType::kF16);
  EXPECT_EQ(file->Find("c")->type, DType::kBF16);
  EXPECT_THAT(file->Find("a")->shape, ElementsAre(2, 3));
  EXPECT_THAT(file->Find("c")->shape, ElementsAre(1, 1, 7));
  EXPECT_EQ(file->Find("d"), nullptr);
  for (const TestTensor& tensor : tensors) EXPECT_EQ(DataOf(*file, tensor), tensor.data);
}

TEST(SafetensorsTest, ReadsAnEntryWhoseDataComesLaterThanItsName) {
  TempDir dir;
  const std::string bytes =
      FileWith(Entry("a", "F16", "[1]", "[4,6]") + "," + Entry("b", "F32", "[1]", "[0,4]"), 6);
  const auto entries = ParseSafetensorsHeader(bytes, "x");
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ((*entries)[0].name, "b");
  EXPECT_EQ((*entries)[1].begin, bytes.size() - 2);
  EXPECT_EQ((*entries)[1].end, bytes.size());
}

TEST(SafetensorsTest, ReadsScalarsAndEmptyTensors) {
  const std::string bytes = FileWith(
      Entry("scalar", "F32", "[]", "[0,4]") + "," + Entry("empty", "F32", "[0,7]", "[4,4]"), 4);
  EXPECT_TRUE(ParseSafetensorsHeader(bytes, "x").ok());
}

TEST(SafetensorsTest, OutlivesBeingMoved) {
  TempDir dir;
  const TestTensor tensor = MakeTestTensor("a", "F32", {64});
  auto file = Safetensors::OpenFile(dir.Write("x", SafetensorsBytes({tensor})));
  ASSERT_TRUE(file.ok());
  const Safetensors moved = *std::move(file);
  EXPECT_EQ(DataOf(moved, tensor), tensor.data);
}

TEST(SafetensorsTest, RefusesEveryTruncationOfAFile) {
  const std::string bytes = SafetensorsBytes({MakeTestTensor("a", "F32", {3})});
  ASSERT_TRUE(ParseSafetensorsHeader(bytes, "x").ok());
  for (size_t length = 0; length < bytes.size(); ++length) {
    const std::string error = ErrorOf(bytes.substr(0, length));
    EXPECT_THAT(error, HasSubstr("truncated")) << length;
  }
}

TEST(SafetensorsTest, RefusesAnOversizedHeader) {
  std::string bytes(16, '\0');
  for (const uint64_t length : {kMaxSafetensorsHeaderBytes + 1, uint64_t{1} << 63, ~uint64_t{0}}) {
    std::memcpy(bytes.data(), &length, sizeof(length));
    EXPECT_THAT(ErrorOf(bytes), HasSubstr("exceeds the limit of 100000000 bytes"));
  }
  const uint64_t longer_than_file = 9;
  std::memcpy(bytes.data(), &longer_than_file, sizeof(longer_than_file));
  EXPECT_THAT(ErrorOf(bytes), HasSubstr("truncated: a header of 9 bytes in a file of 16"));
}

TEST(SafetensorsTest, RefusesAHeaderThatIsNoJsonObject) {
  for (const char* header : {"", "{", "not json", "{\"a\": \"\xff\"}", "{}x"}) {
    EXPECT_THAT(ErrorOf(SafetensorsBytes(header, "")), HasSubstr("not JSON")) << header;
  }
  for (const char* header : {"[]", "3", "null", "\"a\""}) {
    EXPECT_THAT(ErrorOf(SafetensorsBytes(header, "")), HasSubstr("not a JSON object")) << header;
  }
}

TEST(SafetensorsTest, SurvivesNestingOfAnyDepth) {
  const std::string deep = std::string(1000000, '[') + std::string(1000000, ']');
  EXPECT_THAT(ErrorOf(SafetensorsBytes("{\"a\":" + deep + "}", "")), HasSubstr("'a'"));
  EXPECT_THAT(ErrorOf(FileWith(Entry("a", "F32", deep, "[0,4]"), 4)), HasSubstr("'a'"));
  EXPECT_TRUE(
      ParseSafetensorsHeader(SafetensorsBytes("{\"__metadata__\":" + deep + "}", ""), "x").ok());
}

struct Broken {
  std::string entries;
  size_t data_bytes;
  const char* why;
};

TEST(SafetensorsTest, RefusesBrokenEntriesByTheirTensor) {
  const std::string good = Entry("good", "F32", "[1]", "[0,4]") + ",";
  const Broken cases[] = {
      {R"("bad":3)", 0, "lacks dtype, shape or data_offsets"},
      {R"("bad":{"dtype":"F32","shape":[1]})", 4, "lacks dtype, shape or data_offsets"},
      {Entry("bad", "F4", "[2]", "[0,1]"), 1, "dtype 'F4' is not served; F32, F16 and BF16 are"},
      {Entry("bad", "I64", "[1]", "[0,4]"), 4, "4 bytes of data contradict its shape and type I64"},
      {Entry("bad", "f32", "[1]", "[0,4]"), 4, "dtype 'f32' is not served"},
      {R"("bad":{"dtype":7,"shape":[1],"data_offsets":[0,4]})", 4, "dtype 'number' is not served"},
      {Entry("bad", "F32", "1", "[0,4]"), 4, "lists of integers"},
      {Entry("bad", "F32", "[-1]", "[0,4]"), 4, "lists of integers"},
      {Entry("bad", "F32", "[1.0]", "[0,4]"), 4, "lists of integers"},
      {Entry("bad", "F32", "[\"1\"]", "[0,4]"), 4, "lists of integers"},
      {Entry("bad", "F32", "[18446744073709551615]", "[0,4]"), 4, "lists of integers"},
      {Entry("bad", "F32", "[1]", "[0]"), 4, "not [begin, end]"},
      {Entry("bad", "F32", "[1]", "[0,4,8]"), 8, "not [begin, end]"},
      {Entry("bad", "F32", "[1]", "[4,0]"), 4, "not [begin, end]"},
      {Entry("bad", "F32", "[1]", "[-4,0]"), 4, "lists of integers"},
      {Entry("bad", "F32", "[2]", "[0,8]"), 4, "ends at byte 8, but the file holds 4 bytes"},
      {Entry("bad", "F32", "[1]", "[9223372036854775803,9223372036854775807]"), 4, "truncated"},
      {Entry("bad", "F32", "[2]", "[0,4]"), 4, "4 bytes of data contradict its shape and type f32"},
      {Entry("bad", "BF16", "[1]", "[0,4]"), 4, "contradict its shape and type bf16"},
      {Entry("bad", "F32", "[4611686018427387904,4]", "[0,0]"), 0, "contradict its shape"},
      {Entry("bad", "F32", "[4294967296,4294967296]", "[0,0]"), 0, "contradict its shape"},
      {good + Entry("bad", "F32", "[1]", "[0,4]"), 4, "overlaps another tensor's"},
      {good + Entry("bad", "F32", "[2]", "[0,8]"), 8, "overlaps another tensor's"},
      {good + Entry("bad", "F16", "[2]", "[2,6]"), 6, "overlaps another tensor's"},
      {good + Entry("bad", "F32", "[1]", "[8,12]"), 12, "4 bytes before its data"},
      {Entry("bad", "F32", "[1]", "[4,8]"), 8, "4 bytes before its data belong to no tensor"},
      {Entry("bad", "F32", "[1]", "[0,4]") + "," + Entry("bad", "F32", "[1]", "[4,8]"), 8,
       "stands twice in the header"},
  };
  for (const Broken& broken : cases) {
    // Of two that overlap either may be named.
    EXPECT_THAT(ErrorOf(FileWith(broken.entries, broken.data_bytes)),
                AllOf(testing::ContainsRegex("tensor '(bad|good)'"), HasSubstr(broken.why)))
        << broken.entries;
  }
}

TEST(SafetensorsTest, RefusesDataAfterTheLastTensor) {
  EXPECT_THAT(ErrorOf(FileWith(Entry("a", "F32", "[1]", "[0,4]"), 5)),
              HasSubstr("1 bytes after the last tensor"));
  EXPECT_THAT(ErrorOf(FileWith("", 3)), HasSubstr("3 bytes after the last tensor"));
}

bool IsAligned(const StoredTensor& tensor) {
  return reinterpret_cast<uintptr_t>(tensor.data) % SizeOf(tensor.type) == 0;
}

// An unpadded header, or a tensor of an odd length before it.
TEST(SafetensorsTest, BringsDataIntoItsAlignment) {
  TempDir dir;
  const std::string header = "{" + Entry("a", "F32", "[1]", "[0,4]") + "," +
                             Entry("b", "U8", "[3]", "[4,7]") + "," +
                             Entry("c", "BF16", "[2]", "[7,11]") + "}";
  for (size_t pad = 0; pad < 4; ++pad) {
    const std::string bytes = SafetensorsBytes(header + std::string(pad, ' '), "1234xyz5678");
    auto file = Safetensors::OpenFile(dir.Write("x", bytes));
    ASSERT_TRUE(file.ok()) << file.status();
    const Safetensors moved = *std::move(file);
    EXPECT_EQ(std::string(static_cast<const char*>(moved.Find("a")->data), 4), "1234");
    EXPECT_EQ(std::string(static_cast<const char*>(moved.Find("c")->data), 4), "5678");
    EXPECT_TRUE(IsAligned(*moved.Find("a"))) << pad;
    EXPECT_TRUE(IsAligned(*moved.Find("c"))) << pad;
  }
}

TEST(SafetensorsTest, KeepsTensorsOfTypesThatAreNotServed) {
  const std::string bytes =
      FileWith(Entry("a", "F64", "[2]", "[0,16]") + "," + Entry("b", "BOOL", "[1]", "[16,17]") +
                   "," + Entry("c", "F8_E4M3FNUZ", "[2]", "[17,19]"),
               19);
  const auto entries = ParseSafetensorsHeader(bytes, "x");
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ((*entries)[0].unserved_type, "F64");
  EXPECT_EQ((*entries)[1].unserved_type, "BOOL");
  EXPECT_EQ((*entries)[2].unserved_type, "F8_E4M3FNUZ");
}

TEST(SafetensorsTest, NamesTheFileThatIsMissingOrNoFile) {
  TempDir dir;
  const auto missing = Safetensors::OpenFile(dir.path() + "/none");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr(dir.path() + "/none"));
  const auto folder = Safetensors::OpenFile(dir.path());
  EXPECT_EQ(folder.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(folder.status().message()), HasSubstr("not a regular file"));
  const auto empty = Safetensors::OpenFile(dir.Write("empty", ""));
  EXPECT_THAT(std::string(empty.status().message()), HasSubstr("truncated: 0 bytes"));
}

class SafetensorsDirectoryTest : public testing::Test {
 protected:
  std::string Error(absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    const auto all = Safetensors::OpenDirectory(dir_.path());
    EXPECT_EQ(all.status().code(), code);
    return std::string(all.status().message());
  }
  void WriteIndex(const std::string& text) { dir_.Write("model.safetensors.index.json", text); }

  TempDir dir_;
};

TEST_F(SafetensorsDirectoryTest, ReadsTheSameFromOneFileAndFromShards) {
  const TestCheckpoint checkpoint = TinyCheckpoint("BF16");
  TempDir single;
  checkpoint.WriteSingle(single);
  checkpoint.WriteSharded(dir_, 3);
  const auto one = Safetensors::OpenDirectory(single.path());
  const auto many = Safetensors::OpenDirectory(dir_.path());
  ASSERT_TRUE(one.ok()) << one.status();
  ASSERT_TRUE(many.ok()) << many.status();
  EXPECT_EQ(many->tensors().size(), checkpoint.tensors.size());
  for (const TestTensor& tensor : checkpoint.tensors) {
    EXPECT_EQ(DataOf(*one, tensor), tensor.data) << tensor.name;
    EXPECT_EQ(DataOf(*many, tensor), tensor.data) << tensor.name;
  }
}

TEST_F(SafetensorsDirectoryTest, IsNotFoundWithoutEitherForm) {
  EXPECT_THAT(Error(absl::StatusCode::kNotFound),
              AllOf(HasSubstr(dir_.path()),
                    HasSubstr("neither model.safetensors nor model.safetensors.index.json")));
}

TEST_F(SafetensorsDirectoryTest, NamesAShardThatIsMissing) {
  TinyCheckpoint().WriteSharded(dir_, 2);
  std::filesystem::remove(dir_.path() + "/model-00002-of-00002.safetensors");
  EXPECT_THAT(Error(absl::StatusCode::kNotFound), HasSubstr("model-00002-of-00002.safetensors"));
}

TEST_F(SafetensorsDirectoryTest, NamesAShardThatIsBroken) {
  TinyCheckpoint().WriteSharded(dir_, 2);
  dir_.Write("model-00002-of-00002.safetensors", "short");
  EXPECT_THAT(Error(),
              AllOf(HasSubstr("model-00002-of-00002.safetensors"), HasSubstr("truncated")));
}

TEST_F(SafetensorsDirectoryTest, NamesATensorThatItsShardDoesNotHold) {
  dir_.Write("a.safetensors", SafetensorsBytes({MakeTestTensor("x", "F32", {1})}));
  WriteIndex(R"({"weight_map": {"x": "a.safetensors", "y": "a.safetensors"}})");
  EXPECT_THAT(Error(), AllOf(HasSubstr("'y'"), HasSubstr("a.safetensors")));
}

TEST_F(SafetensorsDirectoryTest, ReadsNothingOutsideTheDirectory) {
  for (const char* shard : {"../a", "/etc/passwd", "sub/a", "..", ".hidden", "", "a\\u0000b"}) {
    WriteIndex(absl::StrFormat(R"({"weight_map": {"x": "%s"}})", shard));
    EXPECT_THAT(Error(), AllOf(HasSubstr("weight_map: x"), HasSubstr("without a path"))) << shard;
  }
}

TEST_F(SafetensorsDirectoryTest, RefusesAnIndexThatIsNone) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "is not JSON"},
      {"[]", "is not a JSON object"},
      {"{}", "weight_map is absent"},
      {R"({"weight_map": {}})", "weight_map is an object: it places no tensors"},
      {R"({"weight_map": ["a"]})", "an object is needed"},
      {R"({"weight_map": {"x": 3}})", "a string is needed"},
  };
  for (const auto& [text, why] : cases) {
    WriteIndex(text);
    EXPECT_THAT(Error(), AllOf(HasSubstr("index.json"), HasSubstr(why))) << text;
  }
}

}  // namespace
}  // namespace skipstone
