#include "tests/support/thread_cpu.h"

#include <filesystem>
#include <fstream>
#include <sstream>

namespace skipstone {

std::map<std::string, double> CpuSecondsByThread(pid_t pid) {
  std::map<std::string, double> seconds;
  std::error_code gone;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    // "run time in ns, time waiting, time slices": finer than the ticks of `stat`.
    double nanoseconds = 0;
    std::ifstream(task.path() / "schedstat") >> nanoseconds;
    seconds[name] += nanoseconds / 1e9;
  }
  return seconds;
}

}  // namespace skipstone
