#include "server/listen_socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace skipstone::server {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::StatusOr<Addresses> Resolve(const HostPort& where) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(where.host.c_str(), where.port.c_str(), &hints, &found);
  if (error != 0) return absl::UnavailableError(gai_strerror(error));
  return Addresses(found, &freeaddrinfo);
}

absl::StatusOr<UniqueFd> Open(sockaddr_storage address, socklen_t size, int port) {
  UniqueFd fd(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return absl::UnavailableError(std::strerror(errno));
  const int on = 1;
  const int off = 0;
  // What is accepted inherits TCP_NODELAY.
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  // A restart need not wait for old connections; a second listener fails all the same.
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address.ss_family == AF_INET6) {
    auto& ipv6 = reinterpret_cast<sockaddr_in6&>(address);
    const int only = IN6_IS_ADDR_UNSPECIFIED(&ipv6.sin6_addr) ? off : on;
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    ipv6.sin6_port = htons(static_cast<uint16_t>(port));
  } else {
    reinterpret_cast<sockaddr_in&>(address).sin_port = htons(static_cast<uint16_t>(port));
  }
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(fd.get(), SOMAXCONN) != 0) {
    return absl::UnavailableError(std::strerror(errno));
  }
  return fd;
}

// 0.0.0.0 and [::].
bool IsWildcard(const sockaddr* address) {
  if (address->sa_family == AF_INET6) {
    return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
  }
  return reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr == htonl(INADDR_ANY);
}

}  // namespace

int PortOf(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

sockaddr_storage LocalAddress(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return address;
}

HostPort SplitAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  HostPort split{address.substr(0, colon), address.substr(colon + 1)};
  if (split.host.size() > 1 && split.host.front() == '[' && split.host.back() == ']') {
    split.host = split.host.substr(1, split.host.size() - 2);
  }
  return split;
}

bool IsLoopback(const std::string& address) {
  const std::string host = SplitAddress(address).host;
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

absl::StatusOr<ListenSockets> ListenOn(const std::string& address) {
  const HostPort where = SplitAddress(address);
  const absl::StatusOr<Addresses> addresses = Resolve(where);
  if (!addresses.ok()) return addresses.status();
  ListenSockets result;
  result.port = std::atoi(where.port.c_str());
  absl::Status failed = absl::UnavailableError("no address");
  const auto add = [&](const sockaddr* bound, socklen_t size) {
    sockaddr_storage copy{};
    std::memcpy(&copy, bound, size);
    absl::StatusOr<UniqueFd> fd = Open(copy, size, result.port);
    if (!fd.ok()) {
      failed = fd.status();
      return false;
    }
    if (result.port == 0) result.port = PortOf(LocalAddress(fd->get()));
    result.sockets.push_back(*std::move(fd));
    return true;
  };
  for (const addrinfo* a = (*addresses).get(); a != nullptr; a = a->ai_next) {
    if (IsWildcard(a->ai_addr)) {
      const sockaddr_in6 all{.sin6_family = AF_INET6};
      if (add(reinterpret_cast<const sockaddr*>(&all), sizeof(all))) return result;
    }
    add(a->ai_addr, a->ai_addrlen);
  }
  if (result.sockets.empty()) return failed;
  return result;
}

}  // namespace skipstone::server
