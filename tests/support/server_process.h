// A skipstone-server as a child process on loopback and free ports. Ended in the destructor,
// where a crash fails the test.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace skipstone {

// The demo model of the repository.
std::string DemoModelDir();
// The build's skipstone-server, or empty if it was not built.
std::string ServerBinary();

struct ProgramResult {
  int exit_status = -1;  // or 128 + signal
  std::string out;
  std::string err;
};

// Runs `skipstone-server FLAGS...`, which is meant to end by itself.
ProgramResult RunServerBinary(const std::vector<std::string>& flags);

class ServerProcess {
 public:
  // Starts `skipstone-server --listen 127.0.0.1:0 --metrics_listen 127.0.0.1:0 --drain_grace=0s
  // FLAGS...` and waits for its READY line. Null if the process ended before. Its stderr is
  // `stderr_fd`.
  static std::unique_ptr<ServerProcess> Start(const std::vector<std::string>& flags,
                                              int stderr_fd = 2);
  // The same without waiting. `max_descriptors` > 0: it may not open more than that (ulimit -n).
  static std::unique_ptr<ServerProcess> Launch(const std::vector<std::string>& flags,
                                               int max_descriptors = 0, int stderr_fd = 2);
  // Waits for the READY line; false if the process ended before.
  bool AwaitReady();
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& grpc_address() const { return grpc_; }
  const std::string& metrics_address() const { return metrics_; }
  const std::string& health_address() const { return health_; }
  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // Waits for the process to end; its exit status, or 128 + signal.
  int Wait();

  // Memory that it occupies.
  int64_t ResidentBytes() const;

  // The text of /metrics.
  std::string ScrapeMetrics() const;
  // SumOfSamples of it.
  double Metric(const std::string& series, const std::vector<std::string>& labels = {}) const;

 private:
  ServerProcess() = default;

  pid_t pid_ = -1;
  int stdout_ = -1;
  std::string grpc_;
  std::string metrics_;
  std::string health_;
};

}  // namespace skipstone
