// The threads of a block as fibers (emulator.h).
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "base/check.h"
#include "cuda_runtime.h"
#include "emulator.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

// Saves the callee-saved registers and the stack pointer, and goes on where `load` was saved.
extern "C" void skipstone_switch_stack(void** save, void* load);
#ifndef __x86_64__
#error "the emulator switches stacks on x86-64 only"
#endif
asm(R"(
.text
.globl skipstone_switch_stack
.type skipstone_switch_stack, @function
skipstone_switch_stack:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");

namespace skipstone::emulator {
namespace {

// The odd part keeps the stacks from falling into the same cache sets.
constexpr size_t kStackBytes = (64 << 10) + 1088;
constexpr int kMaxThreads = 1024;
constexpr int kLanes = 32;

// Completed when all live threads of a group have arrived.
struct Barrier {
  int live = 0;
  int arrived = 0;
  uint64_t completed = 0;

  void CompleteIfAllArrived() {
    if (arrived == 0 || arrived < live) return;
    arrived = 0;
    ++completed;
  }
};

struct Warp {
  Barrier barrier;
  uint64_t exchanges = 0;
  ExchangeSlot slots[2][kLanes];
};

struct Copy {
  void* to;
  const void* from;
  bool valid;
};

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  bool done = false;
  const Barrier* waits_for = nullptr;
  uint64_t until = 0;  // the barrier's count of completions is above this
  uint64_t exchanges = 0;
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> committed;
};

struct Block {
  const std::function<void()>* body = nullptr;
  Barrier barrier;
  std::vector<Warp> warps{kMaxThreads / kLanes};
  std::vector<Fiber> fibers{kMaxThreads};
  int running = 0;
  void* scheduler = nullptr;
  std::mt19937 random{1};
};

Block the_block;

Fiber& Running() { return the_block.fibers[the_block.running]; }
Warp& RunningWarp() { return the_block.warps[the_block.running / kLanes]; }

void WaitAt(Barrier& barrier) {
  Fiber& fiber = Running();
  fiber.waits_for = &barrier;
  fiber.until = barrier.completed;
  ++barrier.arrived;
  barrier.CompleteIfAllArrived();
  if (barrier.completed == fiber.until) {
    skipstone_switch_stack(&fiber.stack_pointer, the_block.scheduler);
  }
  fiber.waits_for = nullptr;
}

void FiberMain() {
  Block& block = the_block;
  (*block.body)();
  Fiber& fiber = Running();
  SKIPSTONE_CHECK(fiber.open.empty() && fiber.committed.empty());  // copies nobody waited for
  fiber.done = true;
  // Threads that have ended no longer count at barriers.
  for (Barrier* barrier : {&block.barrier, &RunningWarp().barrier}) {
    --barrier->live;
    barrier->CompleteIfAllArrived();
  }
  skipstone_switch_stack(&fiber.stack_pointer, block.scheduler);
  std::abort();
}

void Prepare(Fiber& fiber) {
  if (fiber.stack == nullptr) {
    static char* const stacks = [] {
      void* memory = mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      SKIPSTONE_CHECK(memory != MAP_FAILED);
      return static_cast<char*>(memory);
    }();
    fiber.stack = stacks + (&fiber - the_block.fibers.data()) * kStackBytes;
  }
  fiber.done = false;
  fiber.waits_for = nullptr;
  fiber.exchanges = 0;
  // Six registers, the address to return to, and one word so that the stack is aligned as after a
  // call.
  auto** top = reinterpret_cast<void**>(fiber.stack + kStackBytes) - 8;
  std::memset(top, 0, 8 * sizeof(void*));
  top[6] = reinterpret_cast<void*>(&FiberMain);
  fiber.stack_pointer = top;
}

// Runs every fiber of the given warps (a bit each) that waits for nothing. False if there is none.
bool RunRound(Block& block, const std::vector<int>& order, uint32_t warps) {
  bool progress = false;
  for (const int i : order) {
    Fiber& fiber = block.fibers[i];
    if ((warps >> (i / kLanes) & 1) == 0 || fiber.done) continue;
    if (fiber.waits_for != nullptr && fiber.waits_for->completed == fiber.until) continue;
    progress = true;
    block.running = i;
    threadIdx = {static_cast<unsigned>(i), 0, 0};
    skipstone_switch_stack(&block.scheduler, fiber.stack_pointer);
  }
  return progress;
}

}  // namespace

void RunBlock(int threads, const std::function<void()>& body) {
  SKIPSTONE_CHECK(threads > 0 && threads <= kMaxThreads && threads % kLanes == 0);
  Block& block = the_block;
  block.body = &body;
  block.barrier = {.live = threads, .arrived = 0, .completed = 0};
  std::vector<int> order(threads);
  for (int i = 0; i < threads; ++i) {
    Prepare(block.fibers[i]);
    order[i] = i;
  }
  for (int w = 0; w < threads / kLanes; ++w) block.warps[w].barrier = {.live = kLanes};
  // Some warps run ahead of the others for a while: which, changes now and then.
  constexpr int kRounds = 48;
  uint32_t ahead = 0;
  for (int round = 0; !order.empty(); ++round) {
    if (round % kRounds == 0) ahead = block.random();
    std::shuffle(order.begin(), order.end(), block.random);
    bool progress = RunRound(block, order, ahead);
    if (!progress) {
      ahead = ~0u;
      progress = RunRound(block, order, ahead);
    }
    if (!progress) {
      std::fprintf(stderr, "emulator: a barrier that not all threads reach\n");
      std::abort();
    }
    std::erase_if(order, [&](int i) { return block.fibers[i].done; });
  }
}

void SyncThreads() { WaitAt(the_block.barrier); }

const ExchangeSlot* Exchange(const void* value, int bytes) {
  Fiber& fiber = Running();
  Warp& warp = RunningWarp();
  SKIPSTONE_CHECK(bytes <= kExchangeBytes);
  if (warp.barrier.live != kLanes) {
    std::fprintf(stderr, "emulator: lanes of a collective operation have ended\n");
    std::abort();
  }
  ExchangeSlot* slots = warp.slots[fiber.exchanges++ % 2];
  std::memcpy(slots[the_block.running % kLanes].bytes, value, bytes);
  WaitAt(warp.barrier);
  return slots;
}

namespace {

void Arrive(const Copy& copy) {
  if (copy.valid) {
    std::memcpy(copy.to, copy.from, 16);
  } else {
    std::memset(copy.to, 0, 16);
  }
}

}  // namespace

// Copies arrive at once or when they are waited for: as early or as late as they may.
void CopyAsync(void* to, const void* from, bool valid) {
  const Copy copy = {to, from, valid};
  if (the_block.random() % 2 == 0) {
    Arrive(copy);
  } else {
    Running().open.push_back(copy);
  }
}

void CommitCopies() {
  Fiber& fiber = Running();
  fiber.committed.push_back(std::move(fiber.open));
  fiber.open.clear();
}

void WaitForCopies(int pending) {
  Fiber& fiber = Running();
  while (static_cast<int>(fiber.committed.size()) > pending) {
    for (const Copy& copy : fiber.committed.front()) Arrive(copy);
    fiber.committed.pop_front();
  }
}

void RunGrid(dim3 grid, dim3 block, const std::function<void()>& body) {
  SKIPSTONE_CHECK(block.y == 1 && block.z == 1);
  gridDim = grid;
  blockDim = block;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        RunBlock(static_cast<int>(block.x), body);
      }
    }
  }
}

}  // namespace skipstone::emulator
