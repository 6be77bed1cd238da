#include "tests/support/tcp_relay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

namespace skipstone {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int Connect(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  SKIPSTONE_CHECK(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  return fd;
}

// False at the end of the stream.
bool Pump(int from, int to) {
  char buffer[16384];
  const ssize_t n = read(from, buffer, sizeof(buffer));
  return n > 0 && send(to, buffer, n, MSG_NOSIGNAL) == n;
}

void Reset(int fd) {
  const linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close(fd);
}

}  // namespace

TcpRelay::TcpRelay(int port) : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  SKIPSTONE_CHECK(bind(listener_, generic, size) == 0 && listen(listener_, 1) == 0);
  SKIPSTONE_CHECK(getsockname(listener_, generic, &size) == 0);
  SKIPSTONE_CHECK(pipe2(wake_, O_CLOEXEC) == 0);
  address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  thread_ = std::thread([this, port] { Run(port); });
}

TcpRelay::~TcpRelay() { Break(); }

void TcpRelay::Break() {
  if (!thread_.joinable()) return;
  close(wake_[1]);
  thread_.join();
  close(wake_[0]);
  close(listener_);
}

void TcpRelay::Run(int port) {
  pollfd waiting[] = {{listener_, POLLIN, 0}, {wake_[0], POLLIN, 0}};
  poll(waiting, 2, -1);
  if (waiting[1].revents != 0) return;
  const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  const int server = Connect(port);
  pollfd fds[] = {{client, POLLIN, 0}, {server, POLLIN, 0}, {wake_[0], POLLIN, 0}};
  bool open = true;
  while (open && poll(fds, 3, -1) > 0 && fds[2].revents == 0) {
    if (fds[0].revents != 0) open = Pump(client, server);
    if (open && fds[1].revents != 0) open = Pump(server, client);
  }
  Reset(client);
  Reset(server);
}

}  // namespace skipstone
