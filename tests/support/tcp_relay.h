// A TCP connection that a test can break: relays bytes between a client and a server on loopback.
#pragma once

#include <string>
#include <thread>

namespace skipstone {

// Takes one connection.
class TcpRelay {
 public:
  // To 127.0.0.1:PORT.
  explicit TcpRelay(int port);
  ~TcpRelay();
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  // Where the client connects to.
  const std::string& address() const { return address_; }
  // Resets both sides, as a host does whose process was killed.
  void Break();

 private:
  void Run(int port);

  int listener_ = -1;
  int wake_[2] = {-1, -1};  // a pipe; the thread ends when it is closed
  std::string address_;
  std::thread thread_;
};

}  // namespace skipstone
