#include "server/metrics_port.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone::server {
namespace {

// A scraper sends its request at once; one that reads nothing is not waited for either.
constexpr unsigned kTimeoutSeconds = 5;

std::shared_ptr<MHD_Response> MakeResponse(const std::string& text) {
  std::shared_ptr<MHD_Response> response(
      MHD_create_response_from_buffer(text.size(), const_cast<char*>(text.data()),
                                      MHD_RESPMEM_MUST_COPY),
      &MHD_destroy_response);
  MHD_add_response_header(response.get(), "Content-Type",
                          "text/plain; version=0.0.4; charset=utf-8");
  // A connection that is kept holds one of the few that there are until its timeout.
  MHD_add_response_header(response.get(), "Connection", "close");
  return response;
}

MHD_Result Refuse(MHD_Connection* connection, unsigned status, const char* text) {
  const auto response = MakeResponse(text);
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
    MHD_add_response_header(response.get(), "Allow", "GET, HEAD");
  }
  return MHD_queue_response(connection, status, response.get());
}

// Called with a request's head, and again when the scrape is resumed.
MHD_Result OnRequest(void* port, MHD_Connection* connection, const char* url, const char* method,
                     const char*, const char*, size_t*, void** state) {
  if (*state != nullptr) {
    auto* scrape = static_cast<MetricsPort::Scrape*>(*state);
    if (!scrape->response) return MHD_NO;
    return MHD_queue_response(connection, MHD_HTTP_OK, scrape->response.get());
  }
  const std::string_view verb = method;
  if (verb != "GET" && verb != "HEAD") {
    return Refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET is answered here\n");
  }
  if (std::string_view(url) != "/metrics") {
    return Refuse(connection, MHD_HTTP_NOT_FOUND, "there is /metrics\n");
  }
  auto* scrape = new MetricsPort::Scrape{.connection = connection};
  *state = scrape;
  if (static_cast<MetricsPort*>(port)->Add(*scrape)) return MHD_YES;
  return Refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "the server shuts down\n");
}

void OnCompleted(void*, MHD_Connection*, void** state, MHD_RequestTerminationCode) {
  delete static_cast<MetricsPort::Scrape*>(*state);
  *state = nullptr;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsPort>> MetricsPort::Open(const std::string& address,
                                                               int max_connections,
                                                               std::function<std::string()> text) {
  std::unique_ptr<MetricsPort> port(new MetricsPort(std::move(text)));
  SKIPSTONE_ASSIGN_OR_RETURN(port->acceptor_, ConnectionAcceptor::Listen(address));
  port->daemon_ = MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME,
      /*port=*/0, nullptr, nullptr, &OnRequest, port.get(), MHD_OPTION_CONNECTION_LIMIT,
      static_cast<unsigned>(max_connections) + 1, MHD_OPTION_CONNECTION_TIMEOUT, kTimeoutSeconds,
      MHD_OPTION_NOTIFY_COMPLETED, &OnCompleted, nullptr, MHD_OPTION_END);
  if (port->daemon_ == nullptr) {
    return absl::UnavailableError(absl::StrFormat("HTTP server: %s", std::strerror(errno)));
  }
  port->thread_ = std::thread([p = port.get()] { p->Run(); });
  port->acceptor_->Start(max_connections, [daemon = port->daemon_](int fd, bool) {
    sockaddr_storage peer{};
    socklen_t size = sizeof(peer);
    getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size);
    // Closes it also when it fails.
    MHD_add_connection(daemon, fd, reinterpret_cast<sockaddr*>(&peer), size);
  });
  return port;
}

MetricsPort::~MetricsPort() {
  if (acceptor_) acceptor_->Stop();
  {
    MutexLock lock(mutex_);
    closing_ = true;
  }
  changed_.NotifyAll();
  // Answers all that wait: a daemon with suspended connections cannot be stopped.
  if (thread_.joinable()) thread_.join();
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

bool MetricsPort::Add(Scrape& scrape) {
  MutexLock lock(mutex_);
  if (closing_) return false;
  MHD_suspend_connection(scrape.connection);
  waiting_.push_back(&scrape);
  changed_.NotifyAll();
  return true;
}

std::vector<MetricsPort::Scrape*> MetricsPort::Take() {
  MutexLock lock(mutex_);
  while (!closing_ && waiting_.empty()) changed_.Wait(mutex_);
  return std::exchange(waiting_, {});
}

void MetricsPort::Run() {
  for (auto scrapes = Take(); !scrapes.empty(); scrapes = Take()) {
    const auto response = MakeResponse(text_());
    for (Scrape* scrape : scrapes) {
      scrape->response = response;
      MHD_resume_connection(scrape->connection);
    }
  }
}

}  // namespace skipstone::server
