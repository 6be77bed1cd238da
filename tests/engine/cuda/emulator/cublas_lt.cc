// The emulated matrix library: column-major, d = alpha op(a) b + beta c. There from the start.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

#include "cublasLt.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"
#include "emulator.h"
#include "engine/cuda/products/cublas_lt.h"

namespace skipstone::cuda {

absl::Status LoadCublasLt() { return absl::OkStatus(); }

void* CublasLtFunction(const char* name) {
#define IF_NAMED(function) \
  if (std::strcmp(name, #function) == 0) return reinterpret_cast<void*>(&::function);
  SKIPSTONE_CUBLAS_LT_FUNCTIONS(IF_NAMED)
#undef IF_NAMED
  return nullptr;
}

}  // namespace skipstone::cuda

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque_t {
  cublasOperation_t transpose_a = CUBLAS_OP_N;
};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type;
  uint64_t rows;
  uint64_t cols;
  int64_t ld;

  float At(const void* matrix, int64_t row, int64_t col) const {
    const int64_t i = col * ld + row;
    if (type == CUDA_R_32F) return static_cast<const float*>(matrix)[i];
    const uint16_t bits = static_cast<const uint16_t*>(matrix)[i];
    return type == CUDA_R_16F ? __half2float({bits}) : __bfloat162float({bits});
  }
  std::vector<float> ToFloats(const void* matrix) const {
    std::vector<float> out;
    out.reserve(rows * cols);
    for (uint64_t col = 0; col < cols; ++col) {
      for (uint64_t row = 0; row < rows; ++row) out.push_back(At(matrix, row, col));
    }
    return out;
  }
  void Set(void* matrix, int64_t row, int64_t col, float value) const {
    const int64_t i = col * ld + row;
    if (type == CUDA_R_32F) {
      static_cast<float*>(matrix)[i] = value;
    } else {
      static_cast<uint16_t*>(matrix)[i] =
          type == CUDA_R_16F ? __float2half_rn(value).bits : __float2bfloat16_rn(value).bits;
    }
  }
};
struct cublasLtMatmulPreferenceOpaque_t {
  uint64_t workspace = 0;
};

namespace {

using skipstone::emulator::kMatmulAlgorithms;
using skipstone::emulator::MatmulAlgorithm;
using skipstone::emulator::MatmulCalls;

constexpr uint64_t kMark = 0x5eed0000;  // in the opaque bytes, with the algorithm's number

struct Library {
  MatmulAlgorithm algorithms[kMatmulAlgorithms] = {{.seconds = 1}, {}, {.seconds = 2}};
  MatmulCalls calls;
};

Library& TheLibrary() {
  static Library library;
  return library;
}

struct Operands {
  cublasLtMatmulDescOpaque_t product;
  cublasLtMatrixLayoutOpaque_t a, b, d;

  bool Supported() const {
    const auto fits = [](const cublasLtMatrixLayoutOpaque_t& l) {
      return l.ld >= static_cast<int64_t>(l.rows);
    };
    return product.transpose_a == CUBLAS_OP_T && a.rows == b.rows && a.cols == d.rows &&
           b.cols == d.cols && fits(a) && fits(b) && fits(d);
  }
};

cublasLtMatmulAlgo_t OpaqueOf(int algorithm) {
  return {{kMark + algorithm, 0, 0, 0, 0, 0, 0, ~uint64_t{0}}};
}

// -1: none of this library's.
int NumberOf(const cublasLtMatmulAlgo_t& algo) {
  for (int i = 0; i < kMatmulAlgorithms; ++i) {
    const cublasLtMatmulAlgo_t own = OpaqueOf(i);
    if (std::equal(std::begin(own.data), std::end(own.data), algo.data)) return i;
  }
  return -1;
}

cublasStatus_t Check(const Operands& operands, const cublasLtMatmulAlgo_t& algo,
                     cublasLtMatmulHeuristicResult_t* result) {
  const int number = NumberOf(algo);
  if (number < 0) return CUBLAS_STATUS_INVALID_VALUE;
  const auto multiple = static_cast<uint64_t>(TheLibrary().algorithms[number].row_multiple);
  if (!operands.Supported() || operands.d.cols % multiple != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  const uint64_t parts = number == 0 ? 0 : number + 1;
  result->workspaceSize = parts * operands.d.rows * operands.d.cols * sizeof(float);
  result->state = CUBLAS_STATUS_SUCCESS;
  return CUBLAS_STATUS_SUCCESS;
}

// Eight sums side by side, as most of the emulated time goes here.
float Dot(const float* a, const float* b, uint64_t begin, uint64_t end) {
  constexpr uint64_t kLanes = 8;
  float lanes[kLanes] = {};
  uint64_t k = begin;
  for (; k + kLanes <= end; k += kLanes) {
    for (uint64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += a[k + lane] * b[k + lane];
  }
  for (; k < end; ++k) lanes[0] += a[k] * b[k];
  return std::accumulate(lanes, lanes + kLanes, 0.0f);
}

// Sums of `parts` parts of the inputs: [part][col][row].
void SumParts(const Operands& operands, const void* a, const void* b, int parts, float* sums) {
  const std::vector<float> rows = operands.a.ToFloats(a);
  const std::vector<float> cols = operands.b.ToFloats(b);
  const uint64_t inputs = operands.a.rows;
  for (int part = 0; part < parts; ++part) {
    const uint64_t begin = inputs * part / parts;
    const uint64_t end = inputs * (part + 1) / parts;
    for (uint64_t col = 0; col < operands.d.cols; ++col) {
      for (uint64_t row = 0; row < operands.d.rows; ++row) {
        *sums++ = Dot(&rows[row * inputs], &cols[col * inputs], begin, end);
      }
    }
  }
}

}  // namespace

namespace skipstone::emulator {

void SetMatmulAlgorithm(int algorithm, const MatmulAlgorithm& is) {
  TheLibrary().algorithms[algorithm] = is;
}

MatmulCalls TakeMatmulCalls() { return std::exchange(TheLibrary().calls, {}); }

}  // namespace skipstone::emulator

size_t cublasLtGetVersion() { return 130100; }
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* product, cublasComputeType_t,
                                        cudaDataType_t) {
  *product = new cublasLtMatmulDescOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t, const void* value,
                                              size_t) {
  product->transpose_a = *static_cast<const cublasOperation_t*>(value);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product) {
  delete product;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
  *layout = new cublasLtMatrixLayoutOpaque_t{type, rows, cols, ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t name,
                                                const void* value, size_t bytes) {
  if (name != CUBLASLT_MATRIX_LAYOUT_COLS || bytes != sizeof(layout->cols)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  std::memcpy(&layout->cols, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void* value, size_t bytes) {
  if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
    if (bytes != sizeof(preference->workspace)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&preference->workspace, value, bytes);
  }
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t product,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* found) {
  ++TheLibrary().calls.heuristics;
  *found = 0;
  for (int i = 0; i < kMatmulAlgorithms && *found < wanted; ++i) {
    cublasLtMatmulHeuristicResult_t result = {.algo = OpaqueOf(i)};
    if (Check({*product, *a, *b, *d}, result.algo, &result) != CUBLAS_STATUS_SUCCESS) continue;
    if (result.workspaceSize <= preference->workspace) results[(*found)++] = result;
  }
  return *found > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t product,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algo,
                                       cublasLtMatmulHeuristicResult_t* result) {
  ++TheLibrary().calls.checks;
  return Check({*product, *a, *b, *d}, *algo, result);
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  const Operands operands = {*product, *a_layout, *b_layout, *d_layout};
  cublasLtMatmulHeuristicResult_t checked = {};
  const cublasStatus_t status = Check(operands, *algo, &checked);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const int number = NumberOf(*algo);
  const bool runs =
      d_layout->cols <= static_cast<uint64_t>(TheLibrary().algorithms[number].most_rows);
  if (checked.workspaceSize > workspace_bytes || !runs) return CUBLAS_STATUS_NOT_SUPPORTED;
  ++TheLibrary().calls.products;
  TheLibrary().calls.last_algorithm = number;
  const float scale = *static_cast<const float*>(alpha);
  const float keep = *static_cast<const float*>(beta);
  skipstone::emulator::Enqueue(stream, [=, cl = *c_layout] {
    const auto& dl = operands.d;
    std::vector<float> own(number == 0 ? dl.rows * dl.cols : 0);
    float* const sums = number == 0 ? own.data() : static_cast<float*>(workspace);
    SumParts(operands, a, b, number + 1, sums);
    for (uint64_t col = 0; col < dl.cols; ++col) {
      for (uint64_t row = 0; row < dl.rows; ++row) {
        float sum = 0;
        for (int part = 0; part <= number; ++part) {
          sum += sums[(part * dl.cols + col) * dl.rows + row];
        }
        sum *= scale;
        if (keep != 0) sum += keep * cl.At(c, row, col);
        dl.Set(d, row, col, sum);
      }
    }
    skipstone::emulator::SkipSeconds(TheLibrary().algorithms[number].seconds);
  });
  return CUBLAS_STATUS_SUCCESS;
}
