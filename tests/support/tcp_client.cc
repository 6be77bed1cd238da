#include "tests/support/tcp_client.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>

namespace skipstone {

bool TcpClient::Connect(const std::string& address) {
  Close();
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found) != 0) {
    return false;
  }
  fd_ = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval minute = {.tv_sec = 60};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof(minute));
  const bool connected = connect(fd_, found->ai_addr, found->ai_addrlen) == 0;
  freeaddrinfo(found);
  return connected;
}

void TcpClient::Close() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

bool TcpClient::Send(const std::string& bytes) const {
  return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

std::string TcpClient::Receive(size_t size) const {
  std::string received;
  char buffer[4096];
  while (received.size() < size) {
    const ssize_t n = recv(fd_, buffer, std::min(sizeof(buffer), size - received.size()), 0);
    if (n <= 0) break;
    received.append(buffer, n);
  }
  return received;
}

}  // namespace skipstone
