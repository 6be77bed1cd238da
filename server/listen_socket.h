// Listening TCP sockets for an address as users write it.
#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/unique_fd.h"

namespace skipstone::server {

// Splits HOST:PORT; an IPv6 host stands in brackets, which are taken off.
struct HostPort {
  std::string host;
  std::string port;
};
HostPort SplitAddress(const std::string& address);

int PortOf(const sockaddr_storage& address);
// That the socket is bound to.
sockaddr_storage LocalAddress(int fd);

// True of an address that only this machine reaches, as far as its text tells.
bool IsLoopback(const std::string& address);

struct ListenSockets {
  std::vector<UniqueFd> sockets;  // one for each address of the host, not blocking
  int port = 0;                   // the same of all
};

// 0.0.0.0 and [::] are one socket for both families where the machine has IPv6. UNAVAILABLE says
// why no address could be bound.
absl::StatusOr<ListenSockets> ListenOn(const std::string& address);

}  // namespace skipstone::server
