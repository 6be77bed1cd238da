// What each thread of a process has spent, by name.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

namespace skipstone {

// Seconds of CPU, user and system, of the threads that live; those of one name are added up.
std::map<std::string, double> CpuSecondsByThread(pid_t pid);

}  // namespace skipstone
