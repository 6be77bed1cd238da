#include "server/connection_acceptor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "server/listen_socket.h"

namespace skipstone::server {
namespace {

// Without descriptors (EMFILE) a connection stays in the kernel's queue; nothing tells when there
// are some again.
constexpr int kRetryMs = 20;
// At the limit, closed connections are looked for no more often: with 65536 it takes 10 ms.
constexpr auto kSweepInterval = std::chrono::milliseconds(50);
// A connect to this machine is answered at once, unless the queue of the listener is full.
constexpr timeval kConnectTimeout = {.tv_sec = 2};

// 0 of what is no open socket.
uint64_t CookieOf(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

// As gRPC names a peer, brackets not escaped.
std::string NameOf(const sockaddr_storage& address) {
  char host[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET6) {
    const in6_addr& ip = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    if (!IN6_IS_ADDR_V4MAPPED(&ip)) {
      inet_ntop(AF_INET6, &ip, host, sizeof(host));
      return absl::StrFormat("ipv6:[%s]:%d", host, PortOf(address));
    }
    inet_ntop(AF_INET, &ip.s6_addr[12], host, sizeof(host));
  } else {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, host, sizeof(host));
  }
  return absl::StrFormat("ipv4:%s:%d", host, PortOf(address));
}

// Where a socket bound to `address` is reached from here: 0.0.0.0 is no destination.
void ReplaceWildcard(sockaddr_storage& address) {
  auto& ipv4 = reinterpret_cast<sockaddr_in&>(address);
  auto& ipv6 = reinterpret_cast<sockaddr_in6&>(address);
  const auto port = htons(static_cast<uint16_t>(PortOf(address)));
  if (address.ss_family == AF_INET6) {
    if (!IN6_IS_ADDR_UNSPECIFIED(&ipv6.sin6_addr)) return;
    address = {};
  } else if (ipv4.sin_addr.s_addr != htonl(INADDR_ANY)) {
    return;
  }
  ipv4.sin_family = AF_INET;
  ipv4.sin_port = port;
  ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ConnectionAcceptor>> ConnectionAcceptor::Listen(
    const std::string& address) {
  SKIPSTONE_ASSIGN_OR_RETURN(ListenSockets listening, ListenOn(address));
  std::unique_ptr<ConnectionAcceptor> acceptor(new ConnectionAcceptor());
  acceptor->listeners_ = std::move(listening.sockets);
  acceptor->port_ = listening.port;
  acceptor->wake_ = UniqueFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (acceptor->wake_.get() < 0) return absl::UnavailableError(std::strerror(errno));
  return acceptor;
}

void ConnectionAcceptor::Start(int max_connections, Handler handler) {
  max_connections_ = max_connections;
  handler_ = std::move(handler);
  thread_ = std::thread([this] { Run(); });
}

void ConnectionAcceptor::Stop() {
  if (thread_.joinable()) {
    eventfd_write(wake_.get(), 1);
    thread_.join();
  }
  listeners_.clear();
}

void ConnectionAcceptor::Run() {
  std::vector<pollfd> polled = {{.fd = wake_.get(), .events = POLLIN}};
  for (const UniqueFd& fd : listeners_) polled.push_back({.fd = fd.get(), .events = POLLIN});
  while (true) {
    if (poll(polled.data(), polled.size(), /*timeout=*/-1) < 0 && errno != EINTR) continue;
    if (polled[0].revents != 0) return;
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents != 0) Accept(polled[i].fd);
    }
  }
}

void ConnectionAcceptor::Accept(int listener) {
  sockaddr_storage peer{};
  socklen_t size = sizeof(peer);
  UniqueFd fd(
      accept4(listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd.get() < 0) {
    pollfd wake = {.fd = wake_.get(), .events = POLLIN};
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      poll(&wake, 1, kRetryMs);
    }
    return;
  }
  const std::string name = NameOf(peer);
  const bool own = IsOwn(name);
  if (!Admit(fd.get(), name, own)) {
    ++refused_;
    return;
  }
  handler_(fd.Release(), own);
}

bool ConnectionAcceptor::IsOwn(const std::string& peer) {
  MutexLock lock(mutex_);
  if (peer != own_peer_) return false;
  own_peer_.clear();
  return true;
}

bool ConnectionAcceptor::Admit(int fd, const std::string& peer, bool own) {
  MutexLock lock(mutex_);
  Forget(accepted_.find(fd));  // whoever had the number has closed it
  if (!own) {
    const auto now = std::chrono::steady_clock::now();
    if (accepted_.size() >= max_connections_ && now - swept_ >= kSweepInterval) ForgetClosed();
    if (accepted_.size() >= max_connections_) return false;
  }
  accepted_[fd] = {.cookie = CookieOf(fd), .peer = peer};
  by_peer_[peer] = fd;
  return true;
}

void ConnectionAcceptor::ForgetClosed() {
  swept_ = std::chrono::steady_clock::now();
  for (auto it = accepted_.begin(); it != accepted_.end();) {
    it = CookieOf(it->first) == it->second.cookie ? std::next(it) : Forget(it);
  }
}

std::map<int, ConnectionAcceptor::Accepted>::iterator ConnectionAcceptor::Forget(
    std::map<int, Accepted>::iterator it) {
  if (it == accepted_.end()) return it;
  // Unless a later connection of the same peer has its place.
  const auto named = by_peer_.find(it->second.peer);
  if (named != by_peer_.end() && named->second == it->first) by_peer_.erase(named);
  return accepted_.erase(it);
}

int ConnectionAcceptor::SocketOf(const std::string& peer) {
  const std::string name = absl::StrReplaceAll(peer, {{"%5B", "["}, {"%5D", "]"}});
  MutexLock lock(mutex_);
  const auto found = by_peer_.find(name);
  return found == by_peer_.end() ? -1 : found->second;
}

int ConnectionAcceptor::open_connections() {
  MutexLock lock(mutex_);
  ForgetClosed();
  return static_cast<int>(accepted_.size());
}

absl::StatusOr<UniqueFd> ConnectionAcceptor::ConnectToSelf() {
  const auto failed = [](const char* what) {
    const std::string message = absl::StrFormat("%s: %s", what, std::strerror(errno));
    const bool no_port = errno == EADDRINUSE || errno == EADDRNOTAVAIL;
    return no_port ? absl::ResourceExhaustedError(message) : absl::UnavailableError(message);
  };
  if (listeners_.empty()) return absl::UnavailableError("not listening");
  sockaddr_storage address = LocalAddress(listeners_[0].get());
  ReplaceWildcard(address);
  const socklen_t size = address.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  UniqueFd fd(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return failed("socket");
  // Ports of connections that ended a while ago will do.
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // Bound first, so that its port is known before the other side accepts.
  sockaddr_storage local = address;
  reinterpret_cast<sockaddr_in&>(local).sin_port = 0;  // the same place for both families
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&local), size) != 0) return failed("bind");
  {
    MutexLock lock(mutex_);
    own_peer_ = NameOf(LocalAddress(fd.get()));
  }
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kConnectTimeout, sizeof(kConnectTimeout));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return failed("connect");
  return fd;
}

}  // namespace skipstone::server
