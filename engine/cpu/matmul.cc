#include "engine/cpu/matmul.h"

#include <algorithm>

#include "base/check.h"
#include "engine/cpu/dot_block.h"
#include "engine/cpu/vector_ops.h"

namespace skipstone {
namespace {

constexpr int64_t kSumsFloats = int64_t{kDotRows} * kDotOutputs;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Rows of one task: as many as fit, evenly, in whole tiles of 6, 3 or 2 where that is possible.
int RowsPerTask(int rows) {
  const int64_t blocks = CeilDiv(rows, kDotRows);
  return static_cast<int>(CeilDiv(CeilDiv(rows, blocks), 6) * 6);
}

int64_t NumTasks(const MatMulJob& job) {
  if (job.rows.empty()) return 0;
  return CeilDiv(job.rows.count, RowsPerTask(job.rows.count)) *
         CeilDiv(job.weight.rows, kDotOutputs);
}

// Row blocks that take all outputs before the next ones do: their inputs stay in a cache shared by
// the cores, and the weights come from memory once for so many rows.
constexpr int64_t kGroupBlocks = 7;

struct TaskPlace {
  int64_t row_block = 0;
  int64_t output_block = 0;
};

// Within a group, the row blocks of one block of outputs follow each other.
TaskPlace PlaceOf(int64_t task, int64_t row_blocks, int64_t output_blocks) {
  const int64_t first = task / (kGroupBlocks * output_blocks) * kGroupBlocks;
  const int64_t blocks = std::min(kGroupBlocks, row_blocks - first);
  task -= first * output_blocks;
  return {.row_block = first + task % blocks, .output_block = task / blocks};
}

struct Block {
  int rows = 0;
  int outputs = 0;
  const float* inputs[kDotRows];
};

// sums[row][output] of the outputs that start at `first_output`.
void Multiply(const Block& block, const Tensor& weight, int64_t first_output, float* scratch,
              float* sums) {
  const void* outputs[kDotOutputs];
  const int64_t row_bytes = weight.cols * static_cast<int64_t>(SizeOf(weight.type));
  for (int o = 0; o < block.outputs; ++o) {
    outputs[o] = static_cast<const char*>(weight.data) + (first_output + o) * row_bytes;
  }
  DotBlock({.inputs = block.inputs,
            .rows = block.rows,
            .outputs = outputs,
            .num_outputs = block.outputs,
            .type = weight.type,
            .k = weight.cols,
            .sums = sums,
            .sums_stride = kDotOutputs,
            .scratch = scratch});
}

void StoreRow(MatMulJob::Store store, const float* sums, const float* ups, int64_t n, float* out) {
  switch (store) {
    case MatMulJob::Store::kSet:
      std::copy_n(sums, n, out);
      return;
    case MatMulJob::Store::kAdd:
      return AddTo(sums, n, out);
    case MatMulJob::Store::kSilu:
      std::copy_n(sums, n, out);
      return SwiGlu(ups, n, out);
  }
}

}  // namespace

MatMul::MatMul(ThreadPool& pool) : pool_(pool) {
  for (int i = 0; i < pool.num_threads(); ++i) {
    scratch_.push_back(Buffer::Map((kDotScratchFloats + 2 * kSumsFloats) * sizeof(float)));
    SKIPSTONE_CHECK(scratch_.back().as<float>() != nullptr);
  }
}

void MatMul::Run(std::span<const MatMulJob> jobs) {
  int64_t tasks = 0;
  for (const MatMulJob& job : jobs) tasks += NumTasks(job);
  pool_.ParallelFor(tasks, [&](int64_t task, int thread) {
    for (const MatMulJob& job : jobs) {
      const int64_t count = NumTasks(job);
      if (task < count) return RunTask(job, task, thread);
      task -= count;
    }
  });
}

void MatMul::RunTask(const MatMulJob& job, int64_t task, int thread) {
  const int rows_per_task = RowsPerTask(job.rows.count);
  const int64_t row_blocks = CeilDiv(job.rows.count, rows_per_task);
  const TaskPlace place = PlaceOf(task, row_blocks, CeilDiv(job.weight.rows, kDotOutputs));
  const int first_row = static_cast<int>(place.row_block) * rows_per_task;
  const int64_t first_output = place.output_block * kDotOutputs;
  float* scratch = scratch_[thread].as<float>();
  float* sums = scratch + kDotScratchFloats;
  float* ups = sums + kSumsFloats;

  Block block;
  block.rows = std::min(rows_per_task, job.rows.count - first_row);
  block.outputs = static_cast<int>(std::min<int64_t>(kDotOutputs, job.weight.rows - first_output));
  for (int r = 0; r < block.rows; ++r) block.inputs[r] = job.input->row(job.rows[first_row + r]);
  Multiply(block, job.weight, first_output, scratch, sums);
  if (job.store == MatMulJob::Store::kSilu) Multiply(block, job.up, first_output, scratch, ups);
  for (int r = 0; r < block.rows; ++r) {
    float* out = job.output->row(job.rows[first_row + r]) + first_output;
    StoreRow(job.store, sums + r * kDotOutputs, ups + r * kDotOutputs, block.outputs, out);
  }
}

}  // namespace skipstone
