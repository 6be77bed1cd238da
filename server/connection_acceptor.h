// The listening sockets of one port, and a thread that accepts: connections beyond a limit are
// closed at once, so that no client can use up the descriptors of the process, and a failing accept
// is tried again. (gRPC 1.51's own listener is deaf for ever after one EMFILE: CVE-2023-4785.)
//
//   SKIPSTONE_ASSIGN_OR_RETURN(auto acceptor, ConnectionAcceptor::Listen("127.0.0.1:0"));
//   acceptor->Start(100, [](int fd, bool own) { ... });       // takes the descriptor
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "server/unique_fd.h"

namespace skipstone::server {

// Thread-safe from Start to Stop.
class ConnectionAcceptor {
 public:
  // `own`: the connection is one of ConnectToSelf.
  using Handler = std::function<void(int fd, bool own)>;

  // Binds every address of HOST:PORT, port 0: any, 0.0.0.0 and [::]: all of both families. Nothing
  // is accepted before Start. UNAVAILABLE says what failed.
  static absl::StatusOr<std::unique_ptr<ConnectionAcceptor>> Listen(const std::string& address);
  ~ConnectionAcceptor() { Stop(); }
  ConnectionAcceptor(const ConnectionAcceptor&) = delete;
  ConnectionAcceptor& operator=(const ConnectionAcceptor&) = delete;

  int port() const { return port_; }

  // `handler` closes what it is given, sooner or later; until then it counts as open.
  void Start(int max_connections, Handler handler);
  // Closes the listening sockets.
  void Stop();

  int open_connections() ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t refused_connections() const { return refused_; }

  // The descriptor of an open connection by gRPC's name of its peer ("ipv4:127.0.0.1:5000"), -1 if
  // there is none. It may be closed, and its number another's, by the time it is used.
  int SocketOf(const std::string& peer) ABSL_LOCKS_EXCLUDED(mutex_);

  // A TCP connection to this very port, which is accepted whatever the limit; one at a time.
  // RESOURCE_EXHAUSTED: this host has no local port left, as beside a proxy that uses them up.
  absl::StatusOr<UniqueFd> ConnectToSelf();

 private:
  struct Accepted {
    uint64_t cookie;  // the kernel's, of the socket
    std::string peer;
  };

  ConnectionAcceptor() = default;
  void Run();
  void Accept(int listener);
  bool IsOwn(const std::string& peer) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Admit(int fd, const std::string& peer, bool own) ABSL_LOCKS_EXCLUDED(mutex_);
  std::map<int, Accepted>::iterator Forget(std::map<int, Accepted>::iterator it)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetClosed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::vector<UniqueFd> listeners_;
  int port_ = 0;
  int max_connections_ = 0;
  Handler handler_;
  UniqueFd wake_;  // an eventfd: Stop
  std::thread thread_;
  std::atomic<int64_t> refused_{0};
  Mutex mutex_;
  // The name of ConnectToSelf's end until it is accepted: nobody else on another host has it.
  std::string own_peer_ ABSL_GUARDED_BY(mutex_);
  // By descriptor. The handler closes them without a word: an entry is stale once its descriptor
  // has another cookie or none.
  std::map<int, Accepted> accepted_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, int> by_peer_ ABSL_GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point swept_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace skipstone::server
