#include "tests/support/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <utility>

#include "gtest/gtest.h"
#include "tests/support/metrics_text.h"
#include "tests/support/paths.h"

namespace skipstone {
namespace {

// The value of `key=` in a READY line.
std::string Field(const std::string& line, const std::string& key) {
  const size_t at = line.find(key + "=");
  if (at == std::string::npos) return "";
  const size_t begin = at + key.size() + 1;
  return line.substr(begin, line.find_first_of(" \n", begin) - begin);
}

std::string ReadLine(int fd) {
  std::string line;
  char c = 0;
  while (read(fd, &c, 1) == 1 && c != '\n') line += c;
  return line;
}

std::string ReadAll(int fd) {
  std::string all;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = read(fd, buffer, sizeof(buffer))) > 0) all.append(buffer, n);
  return all;
}

pid_t Spawn(std::vector<std::string> args, int out, int err) {
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  int exec[2];  // its end: until then the child is a copy of this process
  if (pipe2(exec, O_CLOEXEC) != 0) return -1;
  const pid_t pid = fork();
  if (pid != 0) {
    close(exec[1]);
    char none;
    while (read(exec[0], &none, 1) < 0 && errno == EINTR) {
    }
    close(exec[0]);
    return pid;
  }
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  execv(argv[0], argv.data());
  _exit(127);
}

int WaitFor(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

std::string DemoModelDir() { return SourceDir() + "/models/demo"; }

std::string ServerBinary() {
  const std::string path = BinDir() + "/skipstone-server";
  return access(path.c_str(), X_OK) == 0 ? path : "";
}

ProgramResult RunServerBinary(const std::vector<std::string>& flags) {
  std::vector<std::string> args = {ServerBinary()};
  args.insert(args.end(), flags.begin(), flags.end());
  int out[2];
  int err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return {};
  const pid_t pid = Spawn(std::move(args), out[1], err[1]);
  close(out[1]);
  close(err[1]);
  ProgramResult result;
  // What the program says there fits the pipe, so that one may be read after the other.
  result.out = ReadAll(out[0]);
  result.err = ReadAll(err[0]);
  close(out[0]);
  close(err[0]);
  result.exit_status = WaitFor(pid);
  return result;
}

std::unique_ptr<ServerProcess> ServerProcess::Start(const std::vector<std::string>& flags,
                                                    int stderr_fd) {
  std::unique_ptr<ServerProcess> server = Launch(flags, 0, stderr_fd);
  return server && server->AwaitReady() ? std::move(server) : nullptr;
}

std::unique_ptr<ServerProcess> ServerProcess::Launch(const std::vector<std::string>& flags,
                                                     int max_descriptors, int stderr_fd) {
  std::vector<std::string> args;
  if (max_descriptors > 0) {
    args = {"/bin/sh", "-c", "ulimit -n " + std::to_string(max_descriptors) + " && exec \"$@\"",
            "sh"};
  }
  for (const std::string& arg :
       {ServerBinary(), std::string("--listen=127.0.0.1:0"),
        std::string("--metrics_listen=127.0.0.1:0"), std::string("--log_level=warn"),
        std::string("--drain_grace=0s")}) {
    args.push_back(arg);
  }
  args.insert(args.end(), flags.begin(), flags.end());
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) return nullptr;
  std::unique_ptr<ServerProcess> server(new ServerProcess());
  server->pid_ = Spawn(std::move(args), out[1], stderr_fd);
  close(out[1]);
  server->stdout_ = out[0];
  return server;
}

bool ServerProcess::AwaitReady() {
  const std::string line = ReadLine(stdout_);
  if (line.rfind("READY ", 0) != 0) return false;
  grpc_ = Field(line, "grpc");
  metrics_ = Field(line, "metrics");
  health_ = Field(line, "health");
  return true;
}

ServerProcess::~ServerProcess() {
  if (pid_ > 0) {
    // The second signal ends a drain at once.
    Signal(SIGTERM);
    Signal(SIGTERM);
    const int status = Wait();
    // Neither a crash nor a sanitizer's report, for which CMakePresets.json sets an exit code.
    EXPECT_TRUE(status <= 1 || status == 128 + SIGTERM) << "skipstone-server ended with " << status;
  }
  if (stdout_ >= 0) close(stdout_);
}

void ServerProcess::Signal(int signal) const { kill(pid_, signal); }

int ServerProcess::Wait() { return WaitFor(std::exchange(pid_, -1)); }

int64_t ServerProcess::ResidentBytes() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/statm");
  int64_t size = 0;
  int64_t resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

std::string ServerProcess::ScrapeMetrics() const { return skipstone::ScrapeMetrics(metrics_); }

double ServerProcess::Metric(const std::string& series,
                             const std::vector<std::string>& labels) const {
  return SumOfSamples(ScrapeMetrics(), series, labels);
}

}  // namespace skipstone
