// HTTP port with GET /metrics. One thread polls all connections, so that silent ones hold up
// nothing, and scrapes that come while a text is being made share the next one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "server/connection_acceptor.h"

struct MHD_Daemon;
struct MHD_Connection;
struct MHD_Response;

namespace skipstone::server {

class MetricsPort {
 public:
  // `text` makes what is answered, in Prometheus' text format; one thread calls it. UNAVAILABLE:
  // the address cannot be bound.
  static absl::StatusOr<std::unique_ptr<MetricsPort>> Open(const std::string& address,
                                                           int max_connections,
                                                           std::function<std::string()> text);
  ~MetricsPort();
  MetricsPort(const MetricsPort&) = delete;
  MetricsPort& operator=(const MetricsPort&) = delete;

  int port() const { return acceptor_->port(); }

  // A scrape: waits, suspended, for the next text.
  struct Scrape {
    MHD_Connection* connection = nullptr;
    std::shared_ptr<MHD_Response> response;
  };
  // For the daemon's callbacks. Returns false if the port is closing.
  bool Add(Scrape& scrape) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  explicit MetricsPort(std::function<std::string()> text) : text_(std::move(text)) {}
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  // What has been added, once there is something; empty at the end.
  std::vector<Scrape*> Take() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::function<std::string()> text_;
  std::unique_ptr<ConnectionAcceptor> acceptor_;
  MHD_Daemon* daemon_ = nullptr;
  Mutex mutex_;
  CondVar changed_;
  std::vector<Scrape*> waiting_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace skipstone::server
