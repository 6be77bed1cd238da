// A plain TCP connection of a test: one that says nothing, or bytes that no library would send.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

namespace skipstone {

class TcpClient {
 public:
  TcpClient() = default;
  TcpClient(TcpClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~TcpClient() { Close(); }

  // To HOST:PORT, numeric, IPv6 in brackets.
  bool Connect(const std::string& address);
  void Close();
  bool Send(const std::string& bytes) const;
  // Exactly `size` bytes, or fewer at the end of the connection or after a minute without any.
  std::string Receive(size_t size) const;
  // All up to the end of the connection.
  std::string ReceiveAll() const { return Receive(static_cast<size_t>(-1)); }

 private:
  int fd_ = -1;
};

}  // namespace skipstone
