#include "engine/model/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace skipstone {
namespace {

using nlohmann::json;

class HeaderParser {
 public:
  HeaderParser(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  absl::StatusOr<std::vector<SafetensorsEntry>> Parse() {
    SKIPSTONE_ASSIGN_OR_RETURN(json header, ParseJson());
    std::vector<SafetensorsEntry> entries;
    for (const auto& item : header.items()) {
      if (item.key() == "__metadata__") continue;
      SKIPSTONE_ASSIGN_OR_RETURN(SafetensorsEntry entry, ParseEntry(item.key(), item.value()));
      entries.push_back(std::move(entry));
    }
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    SKIPSTONE_RETURN_IF_ERROR(CheckCoverage(entries));
    return entries;
  }

 private:
  absl::Status Fail(const std::string& why) const {
    return absl::InvalidArgumentError(absl::StrFormat("%s: %s", path_, why));
  }
  absl::Status Fail(const std::string& tensor, const std::string& why) const {
    return Fail(absl::StrFormat("tensor '%s': %s", tensor, why));
  }

  absl::StatusOr<json> ParseJson() {
    uint64_t length = 0;
    if (bytes_.size() < sizeof(length)) {
      return Fail(absl::StrFormat("truncated: %d bytes are no safetensors file", bytes_.size()));
    }
    std::memcpy(&length, bytes_.data(), sizeof(length));
    if (length > kMaxSafetensorsHeaderBytes) {
      return Fail(absl::StrFormat("the header's length %d exceeds the limit of %d bytes", length,
                                  kMaxSafetensorsHeaderBytes));
    }
    if (length > bytes_.size() - sizeof(length)) {
      return Fail(absl::StrFormat("truncated: a header of %d bytes in a file of %d", length,
                                  bytes_.size()));
    }
    data_begin_ = sizeof(length) + length;
    const std::string_view text = bytes_.substr(sizeof(length), length);
    std::string duplicate;
    json header;
    try {
      header = json::parse(text.begin(), text.end(), DuplicateFinder(&duplicate));
    } catch (const json::exception& e) {
      return Fail(absl::StrFormat("the header is not JSON: %s", e.what()));
    }
    if (!header.is_object()) return Fail("the header is not a JSON object");
    if (!duplicate.empty()) return Fail(duplicate, "stands twice in the header");
    return header;
  }

  // The JSON library keeps the last of equal keys; a file with two tensors of one name is broken.
  static json::parser_callback_t DuplicateFinder(std::string* duplicate) {
    return [duplicate, names = std::set<std::string>()](int depth, json::parse_event_t event,
                                                        json& parsed) mutable {
      if (depth != 1 || event != json::parse_event_t::key) return true;
      if (!names.insert(parsed.get<std::string>()).second) *duplicate = parsed.get<std::string>();
      return true;
    };
  }

  absl::StatusOr<SafetensorsEntry> ParseEntry(const std::string& name, const json& value) {
    if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
        !value.contains("data_offsets")) {
      return Fail(name, "its entry lacks dtype, shape or data_offsets");
    }
    SafetensorsEntry entry{.name = name};
    SKIPSTONE_ASSIGN_OR_RETURN(uint64_t needed, ParseType(name, value["dtype"], &entry));
    SKIPSTONE_ASSIGN_OR_RETURN(std::vector<uint64_t> shape, ParseInts(name, value["shape"]));
    SKIPSTONE_ASSIGN_OR_RETURN(std::vector<uint64_t> ends, ParseInts(name, value["data_offsets"]));
    if (ends.size() != 2 || ends[0] > ends[1]) {
      return Fail(name, "data_offsets are not [begin, end]");
    }
    const uint64_t data_bytes = bytes_.size() - data_begin_;
    if (ends[1] > data_bytes) {
      return Fail(name, absl::StrFormat("its data ends at byte %d, but the file holds %d bytes of "
                                        "data: truncated",
                                        ends[1], data_bytes));
    }
    bool overflow = false;
    for (const uint64_t size : shape) {
      overflow |= __builtin_mul_overflow(needed, size, &needed);
      entry.shape.push_back(static_cast<int64_t>(size));
    }
    if (overflow || needed != ends[1] - ends[0]) {
      return Fail(
          name,
          absl::StrFormat("%d bytes of data contradict its shape and type %s", ends[1] - ends[0],
                          entry.unserved_type.empty() ? NameOf(entry.type) : entry.unserved_type));
    }
    entry.begin = data_begin_ + ends[0];
    entry.end = data_begin_ + ends[1];
    return entry;
  }

  // Returns the bytes of an element.
  absl::StatusOr<uint64_t> ParseType(const std::string& tensor, const json& value,
                                     SafetensorsEntry* entry) {
    static const std::map<std::string, DType> kServed = {
        {"F32", DType::kF32}, {"F16", DType::kF16}, {"BF16", DType::kBF16}};
    // Of the format's other types. A tensor that nobody reads may have one.
    static const std::map<std::string, uint64_t> kOthers = {
        {"BOOL", 1},    {"U8", 1},      {"I8", 1},          {"F8_E4M3", 1},
        {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1},
        {"I16", 2},     {"U16", 2},     {"I32", 4},         {"U32", 4},
        {"I64", 8},     {"U64", 8},     {"F64", 8},         {"C64", 8}};
    const std::string name = value.is_string() ? value.get<std::string>() : value.type_name();
    if (const auto served = kServed.find(name); served != kServed.end()) {
      entry->type = served->second;
      return SizeOf(entry->type);
    }
    if (const auto other = kOthers.find(name); other != kOthers.end()) {
      entry->unserved_type = name;
      return other->second;
    }
    return Fail(tensor, absl::StrFormat("dtype '%s' is not served; F32, F16 and BF16 are", name));
  }

  absl::StatusOr<std::vector<uint64_t>> ParseInts(const std::string& tensor, const json& value) {
    const auto error = [&] {
      return Fail(tensor, "shape and data_offsets must be lists of integers from 0");
    };
    if (!value.is_array()) return error();
    std::vector<uint64_t> numbers;
    for (const json& item : value) {
      if (!item.is_number_unsigned() || item.get<uint64_t>() > INT64_MAX) return error();
      numbers.push_back(item.get<uint64_t>());
    }
    return numbers;
  }

  absl::Status CheckCoverage(const std::vector<SafetensorsEntry>& entries) {
    uint64_t end = data_begin_;
    for (const SafetensorsEntry& entry : entries) {
      if (entry.begin < end) return Fail(entry.name, "its data overlaps another tensor's");
      if (entry.begin > end) {
        return Fail(entry.name, absl::StrFormat("%d bytes before its data belong to no tensor",
                                                entry.begin - end));
      }
      end = entry.end;
    }
    if (end == bytes_.size()) return absl::OkStatus();
    return Fail(absl::StrFormat("%d bytes after the last tensor", bytes_.size() - end));
  }

  const std::string_view bytes_;
  const std::string& path_;
  uint64_t data_begin_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensorsHeader(std::string_view bytes,
                                                                     const std::string& path) {
  return HeaderParser(bytes, path).Parse();
}

}  // namespace skipstone
