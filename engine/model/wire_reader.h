// Walks the fields of a message in Protocol Buffers' wire format. The engine knows no protobuf, and
// of one file's few fields needs no more than this.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace skipstone {

//   WireReader reader(bytes);
//   while (reader.Next()) { if (reader.field() == 1) Use(reader.bytes()); }
//   if (!reader.ok()) ...
// A value of another wire type than the getter's reads as empty or 0. Views into the input.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}

  // Moves to the next field. False at the end, and on malformed input.
  bool Next() {
    varint_ = 0;
    bytes_ = {};
    if (rest_.empty() || !ok_) return false;
    uint64_t tag = 0;
    ok_ = ReadVarint(&tag);
    field_ = tag >> 3;
    switch (tag & 7) {
      case 0:
        ok_ = ok_ && ReadVarint(&varint_);
        break;
      case 1:
        ok_ = ok_ && Take(8);
        break;
      case 2: {
        uint64_t size = 0;
        ok_ = ok_ && ReadVarint(&size) && Take(size);
        break;
      }
      case 5:
        ok_ = ok_ && Take(4);
        break;
      default:
        ok_ = false;
    }
    return ok_;
  }

  bool ok() const { return ok_; }
  uint64_t field() const { return field_; }
  uint64_t varint() const { return varint_; }
  std::string_view bytes() const { return bytes_; }
  // Little-endian, as on the wire.
  float float32() const {
    if (bytes_.size() != 4) return 0;
    uint32_t bits = 0;
    for (int i = 3; i >= 0; --i) bits = bits << 8 | static_cast<uint8_t>(bytes_[i]);
    return std::bit_cast<float>(bits);
  }

 private:
  bool Take(uint64_t size) {
    if (size > rest_.size()) return false;
    bytes_ = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  bool ReadVarint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return false;
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  std::string_view rest_;
  bool ok_ = true;
  uint64_t field_ = 0;
  uint64_t varint_ = 0;
  std::string_view bytes_;
};

}  // namespace skipstone
