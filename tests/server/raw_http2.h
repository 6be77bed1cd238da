// An HTTP/2 connection of a test, frame by frame: what a hostile client may send, and what the
// server answers.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/tcp_client.h"

namespace skipstone::server {

class RawHttp2 {
 public:
  enum Type { kSettings = 4, kPing = 6, kGoaway = 7, kNone = 255 };
  struct Frame {
    int type = kNone;  // the connection ended
    int flags = 0;
    std::string payload;
  };

  // Connects and says hello, with empty settings.
  explicit RawHttp2(const std::string& address) {
    EXPECT_TRUE(client_.Connect(address));
    EXPECT_TRUE(client_.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + FrameOf(kSettings, 0, "")));
  }

  static std::string FrameOf(int type, int flags, const std::string& payload) {
    const auto size = static_cast<uint32_t>(payload.size());
    std::string head = {static_cast<char>(size >> 16), static_cast<char>(size >> 8),
                        static_cast<char>(size), static_cast<char>(type), static_cast<char>(flags)};
    return head + std::string(4, '\0') + payload;  // of stream 0
  }

  bool Send(int type, const std::string& payload) const {
    return client_.Send(FrameOf(type, 0, payload));
  }

  Frame Read() const {
    const std::string head = client_.Receive(9);
    if (head.size() < 9) return {};
    const auto byte = [&](int i) { return static_cast<uint8_t>(head[i]); };
    const size_t size = byte(0) << 16 | byte(1) << 8 | byte(2);
    return {.type = byte(3), .flags = byte(4), .payload = client_.Receive(size)};
  }

  // The next frame of `type`, or the end of the connection.
  Frame ReadNext(int type) const {
    Frame frame = Read();
    while (frame.type != type && frame.type != kNone) frame = Read();
    return frame;
  }

  // The settings that the server begins with.
  std::map<int, uint32_t> ReadSettings() const {
    const std::string text = ReadNext(kSettings).payload;
    std::map<int, uint32_t> settings;
    for (size_t i = 0; i + 6 <= text.size(); i += 6) {
      const auto byte = [&](size_t k) { return static_cast<uint8_t>(text[i + k]); };
      settings[byte(0) << 8 | byte(1)] =
          uint32_t{byte(2)} << 24 | byte(3) << 16 | byte(4) << 8 | byte(5);
    }
    return settings;
  }

  // Sends a ping and waits for its answer; false if the server says goodbye instead.
  bool Ping() const {
    if (!Send(kPing, "12345678")) return false;
    Frame frame = Read();
    while (frame.type != kPing && frame.type != kGoaway && frame.type != kNone) frame = Read();
    return frame.type == kPing;
  }

 private:
  TcpClient client_;
};

}  // namespace skipstone::server
