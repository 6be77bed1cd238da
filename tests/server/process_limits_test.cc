#include "server/process_limits.h"

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/unique_fd.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;

TEST(ProcessLimitsTest, RaisesTheSoftLimitOfDescriptors) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max / 2;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(MaxDescriptors(), limit.rlim_cur);
  SetProcessLimits();
  EXPECT_EQ(MaxDescriptors(), limit.rlim_max);
}

TEST(ProcessLimitsTest, CountsDescriptors) {
  const int64_t before = OpenDescriptors();
  std::vector<UniqueFd> more;
  for (int i = 0; i < 7; ++i) more.emplace_back(eventfd(0, EFD_CLOEXEC));
  EXPECT_EQ(OpenDescriptors(), before + 7);
  more.clear();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(ProcessLimitsTest, ConnectionsStayBelowTheDescriptors) {
  for (const int64_t descriptors : {200, 256, 1024, 4096, 65536, 1 << 20}) {
    const auto limits = ConnectionLimitsOf(0, descriptors);
    ASSERT_TRUE(limits.ok()) << limits.status();
    EXPECT_GE(limits->grpc, 1);
    EXPECT_LE(limits->grpc, 65536);
    EXPECT_GE(limits->metrics, 16);
    EXPECT_GE(limits->health, 8);
    EXPECT_LE(limits->grpc + limits->metrics + limits->health + 64, descriptors);
  }
  EXPECT_EQ(ConnectionLimitsOf(0, 1024)->grpc, 1024 - 128 - 64 - 128);
  EXPECT_EQ(ConnectionLimitsOf(10, 1024)->grpc, 10);
  EXPECT_EQ(ConnectionLimitsOf(0, 1024, /*level_ports=*/3)->grpc, 1024 - 128 - 64 - 128 - 3 * 64);
  EXPECT_EQ(ConnectionLimitsOf(0, 1024, 3)->level, 64);
}

TEST(ProcessLimitsTest, MoreConnectionsThanDescriptorsAreRefused) {
  const absl::Status status = ConnectionLimitsOf(705, 1024).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      std::string(status.message()),
      testing::AllOf(HasSubstr("max_connections: 705"), HasSubstr("1024"), HasSubstr("1 to 704")));
  EXPECT_EQ(ConnectionLimitsOf(0, 80).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ProcessLimitsTest, TrimsWhenIdleAndNotAllTheTime) {
  using std::chrono::seconds;
  const std::chrono::steady_clock::time_point start(seconds(1000));
  IdleTrim trim;
  EXPECT_FALSE(trim.Tick(/*idle=*/false, start));
  EXPECT_TRUE(trim.Tick(/*idle=*/true, start));
  EXPECT_FALSE(trim.Tick(/*idle=*/true, start + seconds(1)));
  EXPECT_FALSE(trim.Tick(/*idle=*/false, start + seconds(60)));
  EXPECT_TRUE(trim.Tick(/*idle=*/true, start + seconds(60)));
}

#ifndef __SANITIZE_ADDRESS__  // has an allocator of its own
int64_t ResidentBytes() {
  std::ifstream pages("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  pages >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST(ProcessLimitsTest, WhatABurstLeftBehindGoesBack) {
  SetProcessLimits();
  const int64_t before = ResidentBytes();
  int64_t burst = 0;
  // A thread's arena is not the main one, which malloc_trim cares for.
  std::thread([&burst, before] {
    // Raises glibc's thresholds where they are not set.
    delete new std::string(size_t{24} << 20, 'x');
    std::vector<std::string> requests;
    for (int i = 0; i < 150; ++i) requests.emplace_back(size_t{200} << 10, 'x');
    burst = ResidentBytes() - before;
  }).join();
  EXPECT_GE(burst, int64_t{28} << 20);
  EXPECT_LE(ResidentBytes() - before, int64_t{8} << 20);
}
#endif

}  // namespace
}  // namespace skipstone::server
